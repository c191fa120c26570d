// Webhooks: how each does, why one fails, and what was given up.
import { words } from './words.js';
import { button, clean, confirmBox, dialog, dot, field, fill, h, head, icon, iconButton, menu, name, put, rich, say, t } from './dom.js';
import { call, enc, get, on, once, state } from './api.js';
import { accountName, clock, number, short, span } from './format.js';
import { curl, shows } from './shell.js';

const KINDS = ['message', 'message.sent', 'message.status', 'message.reaction', 'message.edited', 'message.deleted', 'message.marked', 'message.undecryptable', 'poll.vote', 'event.response', 'status', 'call', 'chat', 'group.joined', 'group.left', 'group.members', 'group.updated', 'group.request', 'presence', 'typing', 'account.status', 'account.qr', 'account.passkey', 'account.restricted'];
/** What a webhook may ask for. */
export const kinds = () => KINDS;
const may = () => !state.server.key?.readOnly;
const path = (hook) => `webhooks/${enc(hook.id)}`;

export const fails = (hook) => !hook.disabledAt && hook.failures > 0;
function standing(hook) {
  if (hook.disabledAt) return ['off', words.hStopped];
  if (fails(hook)) return ['bad', t('hFails', { time: clock(hook.failingSince || hook.lastDelivery?.at), n: hook.pending })];
  if (hook.missed > 0) return ['bad', t('hMissed', { n: hook.missed })];
  return hook.lastDelivery ? ['ok', t('hWorks', { time: short(hook.lastDelivery.at) })] : ['warn', words.hNever];
}

/** The likely cause of a failure, in words. */
function cause(last) {
  const text = last.error || '';
  const key = last.status === 401 || last.status === 403 ? 401 : last.status === 404 ? 404 : last.status >= 300 && last.status < 400 ? 'moved' : /refused/i.test(text) ? 'refused' : /look|resolv|name/i.test(text) ? 'lookup' : /certificate|tls/i.test(text) ? 'tls' : /time|answer|late/i.test(text) ? 'slow' : null;
  return key && words.why[key];
}

export function hooksView(wanted) {
  const page = h('div', { class: 'page' }), ends = [];
  let hooks = [], dead = {}, tested = {};

  async function load() {
    try { hooks = (await get('webhooks')).webhooks; } catch { return; }
    state.hooksFailing = hooks.filter(fails).length;
    const hook = hooks.find((x) => x.id === wanted) || (innerWidth >= 720 && hooks[0]);
    if (hook?.dead > 0) dead[hook.id] = await get(`${path(hook)}/dead?limit=50`).catch(() => null);
    draw();
  }
  function draw() {
    const hook = hooks.find((x) => x.id === wanted) || (innerWidth >= 720 && hooks[0]);
    const focused = document.activeElement?.dataset?.keep;
    fill(page, head(words.webhooks, words.hooksAre, may() && button([icon('plus'), words.addHook], () => edit(null, load), 'main')),
      hooks.length === 0 ? h('div', { class: 'empty card' }, words.noHooks, h('pre', { class: 'code mid' }, curl({ method: 'POST', path: 'webhooks', body: { url: 'http://192.168.1.31:5678/webhook/wa' } })))
        : h('div', { class: `hooks ${wanted ? 'one' : ''}` }, h('ul', { class: 'card' }, hooks.map((x) => { const [kind, line] = standing(x), url = parts(x.url); return h('li', {}, h('a', { href: `#/webhooks/${enc(x.id)}`, 'aria-current': x === hook ? 'true' : null }, h('span', { class: `dot ${kind} ${kind === 'off' ? '' : kind}` }), h('b', { class: 'cut' }, name(url.host)), h('span', { class: 'mono muted cut' }, name(url.path)), h('span', { class: `second ${kind === 'bad' ? 'bad' : 'muted'}` }, line))); })),
          hook ? detail(hook) : h('div', {})));
    if (focused) page.querySelector(`[data-keep=${focused}]`)?.focus();
    shows(hook ? { method: 'POST', path: `${path(hook)}/test` } : { method: 'POST', path: 'webhooks', body: { url: 'http://192.168.1.31:5678/webhook/wa' } });
  }
  function detail(hook) {
    const last = hook.lastDelivery, next = hook.nextAttempt && Date.parse(hook.nextAttempt) - Date.now(), list = dead[hook.id], test = tested[hook.id];
    return h('div', { class: 'card' }, h('div', { class: 'card-in' },
      h('a', { class: 'phone-only', href: '#/webhooks' }, words.back),
      h('div', { class: 'bar' }, h('h2', { class: 'mono grow' }, name(hook.url)), may() && iconButton('more', words.menu, (e) => menu(e.currentTarget, [[words.remove, () => confirmBox(words.remove, words.removeHook, words.remove, () => call('DELETE', path(hook)).then(() => { location.hash = '#/webhooks'; load(); }).catch(bad))]]), '', { 'aria-haspopup': 'menu' })),
      fails(hook) && last && h('div', { class: 'note bad' }, icon('alert'), h('div', {}, h('b', {}, t('timesSince', { why: clean(last.error || `HTTP ${last.status}`), n: hook.failures, time: clock(hook.failingSince || last.at) })), h('p', {}, cause(last)))),
      hook.disabledAt && h('div', { class: 'note' }, icon('alert'), h('div', { class: 'grow' }, words.hStopped)),
      hook.missed > 0 && h('p', { class: 'bad' }, t('hMissed', { n: hook.missed })),
      h('div', { class: 'bar wrap' }, may() && (hook.disabledAt ? button(words.startAgain, () => call('POST', 'webhooks', { url: hook.url, ...(hook.accountId ? { accountId: hook.accountId } : {}) }).then(() => { say(words.again410, true); load(); }).catch(bad), 'main', { 'data-keep': 'test' }) : button(words.sendTest, () => run(hook), 'main', { 'data-keep': 'test' })), may() && !hook.url.includes('***') && button(words.edit, () => edit(hook, load)), h('span', { class: 'grow' }), next > 0 && h('span', { class: 'muted' }, rich('nextIn', { time: span(next) }))),
      test && h('div', { class: `note ${test.delivered ? '' : 'bad'}` }, icon(test.delivered ? 'check' : 'alert'), h('div', { class: 'grow' }, h('b', {}, test.status ? t('answered', { status: test.status, ms: test.durationMs }) : clean(test.error)), test.delivered && h('p', {}, words.testRest), test.body && h('details', {}, h('summary', {}, words.theAnswer, icon('down')), h('pre', {}, test.body.slice(0, 4096))))),
      h('dl', { class: 'facts' }, [[words.fLast, last ? `${short(last.at)}${last.status ? `, ${last.status}` : ''}` : '–'], [words.fWaiting, t('nEvents', { n: hook.pending })], [words.fEvents, hook.events.join(', ')], [words.fAccount, hook.accountId ? name(accountName(state.accounts.get(hook.accountId) || { id: hook.accountId })) : words.allAccounts], [words.fSigned, words[hook.hasSecret ? 'yes' : 'no']]].map(([a, b]) => h('div', {}, h('dt', {}, a), h('dd', {}, b))))),
      list?.dead?.length > 0 && h('div', {}, h('div', { class: 'bar given' }, h('h2', {}, words.givenUp), h('span', { class: 'muted grow' }, t('deadN', { n: hook.dead })), may() && button(words.sendAll, () => replay(hook))),
        h('ul', { class: 'dead' }, list.dead.map((d) => h('li', {}, h('time', {}, `${short(d.body.createdAt || d.failedAt)}`), h('code', {}, d.body.event), h('span', { class: 'cut' }, name(d.body.chatName || number(d.body.chatId || ''))), h('details', {}, h('summary', { class: 'muted second' }, h('span', { class: 'cut' }, clean(d.error || ''))), h('pre', { class: 'small' }, JSON.stringify(d.body, null, 1))), may() && button(words.sendAgain, () => replay(hook, [d.eventId]), 'plain'))))));
  }
  const bad = (e) => say(e.message, true, true);
  const run = async (hook) => { try { tested[hook.id] = await call('POST', `${path(hook)}/test`); } catch (error) { tested[hook.id] = { error: error.message }; } await load(); };
  const replay = (hook, ids) => call('POST', `${path(hook)}/replay`, ids ? { ids } : {}).then(() => { dead = {}; load(); }).catch(bad);
  const parts = (url) => { try { const u = new URL(url); return { host: u.host, path: u.pathname + u.search }; } catch { return { host: url, path: '' }; } };
  let n = 0;
  const tick = setInterval(() => { if (document.hidden || page.querySelector('details[open]')) return; if (++n % 5 === 0) load(); else if (hooks.some((x) => x.nextAttempt)) draw(); }, 1000);
  ends.push(on('online', load));
  load();
  return { box: page, end() { clearInterval(tick); for (const end of ends) end(); } };
}

function edit(hook, done) {
  const url = field(words.hookUrl, { type: 'url', value: hook?.url || '', placeholder: 'http://192.168.1.31:5678/webhook/wa', oninput: hint }), note = h('p', { class: 'muted' });
  function hint() {
    const text = url.input.value;
    note.textContent = text && !/^https?:\/\//.test(text) && !'https://'.startsWith(text) ? words.needsHttp : /^https?:\/\/(localhost|127\.)/.test(text) ? words.isLocal : '';
    shows({ method: 'POST', path: 'webhooks', body: body() });
  }
  const account = h('select', { 'aria-label': words.fAccount }, h('option', { value: '' }, words.allAccounts), [...state.accounts.values()].map((a) => h('option', { value: a.id, selected: hook?.accountId === a.id }, accountName(a))));
  const boxes = KINDS.map((kind) => h('input', { type: 'checkbox', value: kind, checked: hook ? hook.events.includes(kind) : kind === 'message' }));
  const secret = field(words.hookSecret, { placeholder: hook?.hasSecret ? words.keepSecret : 'whsec_…' });
  const headers = field(words.headersField.replaceAll('`', ''), { rows: 2 }, 'textarea');
  const body = () => ({ url: url.input.value, ...(account.value ? { accountId: account.value } : {}), events: boxes.filter((b) => b.checked).map((b) => b.value), ...(secret.input.value ? { secret: secret.input.value } : {}), ...(headers.input.value.trim() ? { headers: Object.fromEntries(headers.input.value.trim().split('\n').map((l) => [l.split(':')[0].trim(), l.split(':').slice(1).join(':').trim()])) } : {}) });
  const make = () => { const bytes = once() + once(); secret.input.value = `whsec_${btoa(bytes.match(/../g).map((b) => String.fromCharCode(parseInt(b, 16))).join(''))}`; secret.says(''); };
  const save = async (e) => {
    e.preventDefault();
    try { await call('POST', 'webhooks', body()); box.close(); done(); } catch (error) { (error.more.field === 'secret' ? secret : error.more.field === 'headers' ? headers : url).says(error.message); }
  };
  put(url.box, note);
  put(secret.box, button(words.makeOne, make, 'plain'), h('p', { class: 'muted' }, words.secretNote));
  const box = dialog(hook ? words.edit : words.addHook, h('form', { onsubmit: save }, url.box, h('div', { class: 'field' }, h('label', {}, words.fAccount), account), h('div', { class: 'field' }, h('label', {}, words.fEvents), boxes.map((b) => h('label', { class: 'check' }, b, h('code', {}, b.value)))), secret.box, headers.box, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), h('button', { class: 'btn main' }, words.save))));
}
