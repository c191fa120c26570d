// The frame: where one is, what is open, and what went away.
import { words } from './words.js';
import { alertBox, button, clean, code, copy, dialog, dot, field, fill, h, head, icon, iconButton, menu, name, rich, say, status, t } from './dom.js';
import { Refusal, accounts, call, emit, get, listen, on, setKey, state, store, wake } from './api.js';
import { accountName, clock, span } from './format.js';
import { drawer, shows, toggle } from './shell.js';
import { accountsView, addAccount, short2, standing } from './accounts.js';
import { linkView } from './link.js';
import { chatList, newChat } from './chats.js';
import { chatView } from './chat.js';
import { fails, hooksView, kinds } from './hooks.js';
import { health, keysView, serverView, settingsView } from './server.js';

const app = document.getElementById('app');
let view, list, shell, open = null, trouble = null, notices = h('div', {}), version;

// Appearance
const dark = matchMedia('(prefers-color-scheme: dark)');
const look = () => store.get('wildcat.look') || 'automatic';
function paint() { document.documentElement.dataset.theme = look() === 'automatic' ? (dark.matches ? 'dark' : 'light') : look(); }
dark.addEventListener('change', paint);
paint();

// Keys
const ROUTES = [
  ['chats', /^#\/chats(?:\/([\w-]{1,64})(?:\/([^/]{1,200})(?:\/([^/]{1,200}))?)?)?$/],
  ['link', /^#\/accounts\/([\w-]{1,64})\/link$/], ['accounts', /^#\/accounts$/], ['webhooks', /^#\/webhooks(?:\/([\w-]{1,64}))?$/],
  ['keys', /^#\/keys$/], ['server', /^#\/server$/], ['settings', /^#\/settings$/],
];
function where() {
  for (const [place, pattern] of ROUTES) {
    const found = location.hash.match(pattern);
    if (found) try { return [place, ...found.slice(1).map((x) => x && decodeURIComponent(x))]; } catch { break; }
  }
  return [state.accounts.size ? 'chats' : 'accounts'];
}

function keyView(refusal) {
  const host = location.hostname, other = state.server.hasKeys;
  const how = [code(`ssh pi@${host}`, 'sudo wildcat key add phone'), h('p', { class: 'second muted' }, rich('names'))];
  const key = field(words.keyField, { class: 'mono', placeholder: 'wc_', autocapitalize: undefined, autocomplete: 'off' });
  const go = h('button', { class: 'btn main big' }, words.open);
  const enter = async (event) => {
    event.preventDefault();
    setKey(key.input.value.trim());
    go.disabled = true;
    try { await boot(); } catch (error) { tell(error); }
  };
  const tell = (error) => {
    go.disabled = false;
    if (!(error instanceof Refusal)) throw error;
    setKey('');
    if (error.status === 429) return hold(error.more.retryAfter || 60);
    key.says(error.status === 401 ? words.wrongKey : error.message);
  };
  const hold = (s) => { go.disabled = s > 0; key.says(s > 0 ? t('manyKeys', { s }) : ''); if (s > 0) setTimeout(hold, 1000, s - 1); };
  end();
  fill(app, status, alertBox, h('main', { id: 'main', class: 'scroll' }, h('div', { class: 'entry' },
    h('div', { class: 'bar' }, icon('cat', 'cat'), h('b', { class: 'grow' }, 'wildcat'), h('span', { class: 'pill ok' }, dot('ok'), words.running)),
    h('h1', { tabindex: '-1' }, words.letIn), h('p', { class: 'muted' }, other ? words.wantsKey : words.fromOther),
    other ? h('details', {}, h('summary', {}, words.another, icon('down')), how) : how,
    h('br'), h('form', { onsubmit: enter }, key.box, go), h('p', { class: 'second muted' }, rich('keyStays')),
    h('hr'), h('details', {}, h('summary', {}, words.keyKinds, icon('down')), code('sudo wildcat key add panel --read-only'), code('sudo wildcat key add shop --account home')),
    location.protocol === 'http:' && !state.server.local && h('p', { class: 'plain second muted' }, icon('alert'), words.plain))));
  if (refusal) tell(refusal); else key.input.focus();
}

// Boot
let listening = false, sandboxed = false;
async function boot() {
  try {
    state.server = await get('server');
  } catch (error) {
    if (error.status === 401 || error.status === 429) return keyView(error);
    if (error.status === 0) { setTimeout(boot, 2000); return fill(app, h('p', { class: 'empty' }, words.gone)); }
    return fill(app, h('p', { class: 'empty' }, error.message));
  }
  if (!state.server.version) { if (state.key) setKey(''); return keyView(); }
  version ||= state.server.version;
  await accounts();
  frame();
  if (!listening) { listening = true; listen([...new Set([...kinds(), 'message.any', 'chat', 'typing'])]).finally(() => { listening = false; }); }
  troubles();
  countUnread();
  if (state.server.sandbox && !sandboxed) { sandboxed = true; import('./sandbox.js').then((it) => it.start({ words, button, dialog, h, iconButton, on, state, store, body })).catch(() => {}); }
  get('webhooks').then((found) => { state.hooksFailing = found.webhooks.filter(fails).length; draw(); }).catch(() => {});
}

const nav = h('nav', { 'aria-label': words.main }), pane = h('div', { class: 'pane' }), stage = h('div', { class: 'stage' }), body = h('div', { class: 'frame' });
function frame() {
  fill(pane, stage);
  shell = drawer();
  fill(body, nav, pane);
  fill(app, h('a', { class: 'skip', href: '#main', onclick: (e) => { e.preventDefault(); document.querySelector('main h1')?.focus(); } }, words.skip), status, alertBox, notices, body);
  tellNotices();
  route();
}

function end() { view?.end(); list?.end(); view = list = null; }

function route() {
  if (!state.server.version) return;
  const [place, ...args] = where();
  document.querySelector('.menu')?.remove();
  document.querySelectorAll('dialog').forEach((d) => d.close());
  view?.end();
  view = null;
  const main = h('main', { id: 'main' });
  let alone = false;
  if (place === 'chats') {
    const id = args[0] || store.get('wildcat.account'), account = state.accounts.get(id) || [...state.accounts.values()][0];
    open = args[1] || null;
    if (!account) { location.replace('#/accounts'); return; }
    store.set('wildcat.account', account.id);
    if (list?.of !== account.id) { list?.end(); list = { ...chatList(account, () => open), of: account.id }; } else list.mark();
    if (open) {
      const seen = list.chat(open);
      const seenNow = (jid) => { unread.get(account.id)?.delete(jid); draw(); title(); };
      view = chatView(account, seen || { chatId: open }, args[2], { look: list.soon, read: (jid) => { list.read(jid); seenNow(jid); }, changed: (chat) => { list.changed(chat); if (!chat.unreadCount) seenNow(chat.chatId); }, gone: (jid) => { seenNow(jid); location.hash = `#/chats/${account.id}`; } });
      fill(main, view.box);
      alone = true;
    } else { fill(main, h('div', { class: 'empty' }, h('h1', { tabindex: '-1', class: 'sr' }, words.chats), rich('pickChat'))); shows({ method: 'GET', path: `accounts/${account.id}/chats` }); }
    const top = h('header', { class: 'top narrow' }, h('span', { class: `bar ${standing(account).kind}` }, dot(standing(account).kind)), h('button', { type: 'button', class: 'grow cut', 'aria-haspopup': 'menu', onclick: (e) => chooser(e.currentTarget) }, h('b', {}, name(accountName(account))), h('span', { class: 'small muted' }, ' ', standing(account).pill)), iconButton('shell', words.shell, toggle, 'phone-only'));
    list.top?.remove();
    list.top = top;
    list.box.prepend(top);
    fill(stage, list.box, main);
  } else {
    list?.end();
    list = null;
    open = null;
    view = { accounts: () => accountsView(), link: () => linkView(state.accounts.get(args[0]) || { id: args[0] }), webhooks: () => hooksView(args[0]), keys: () => keysView(() => boot()), server: () => serverView(), settings: () => settingsView() }[place]();
    alone = !!view.alone;
    fill(main, view.box);
    if (place === 'server') view.box.append(h('div', { class: 'phone-only' }, h('br'), [['keys', 'key'], ['settings', 'sliders']].map(([k, i]) => h('p', {}, h('a', { class: 'btn', href: `#/${k}` }, icon(i), words[k]))), button([icon('moon'), words.appearance], (e) => appearance(e.currentTarget))));
    fill(stage, main);
  }
  main.append(shell);
  body.classList.toggle('alone', alone);
  draw();
  title();
  if (moved) (view?.input && !matchMedia('(pointer: coarse)').matches ? view.input : main.querySelector('h1'))?.focus({ preventScroll: true });
  moved = true;
}
let moved = false;
addEventListener('hashchange', route);

function chooser(at) {
  menu(at, [...state.accounts.values()].map((a) => [accountName(a), () => { location.hash = `#/chats/${a.id}`; }, standing(a).pill]));
}

const unread = new Map(), sum = (id) => [...(unread.get(id)?.values() || [])].reduce((a, b) => a + b, 0);
function title() {
  const [place] = where(), all = [...unread.keys()].reduce((n, one) => n + sum(one), 0), id = store.get('wildcat.account'), a = place === 'chats' && state.accounts.get(id);
  document.title = `${all ? `(${all}) ` : ''}${a ? accountName(a) : words[place] || words.linkTitle}, wildcat`;
}

function draw() {
  if (!body.isConnected) return;
  const [place, which] = where(), all = [...state.accounts.values()], only = state.server.key?.account;
  const now = place === 'chats' ? which || store.get('wildcat.account') : null;
  const item = (key, symbol, extra, deep, href) => h('div', { class: `pair ${deep ? 'deep' : ''}` }, h('a', { href: href || `#/${key}`, 'aria-current': place === key || key === 'accounts' && place === 'link' ? 'page' : null, title: words[key] }, icon(symbol), h('span', { class: 'wide' }, words[key]), extra));
  const focused = nav.contains(document.activeElement) && document.activeElement.getAttribute('href');
  fill(nav,
    h('a', { class: 'brand', href: '#/chats' }, icon('cat', 'cat'), h('span', {}, 'wildcat'), h('span', { class: 'second muted wide cut' }, state.server.host)),
    all.length > 0 && h('h2', { class: 'wide' }, words.chats), all.slice(0, 6).map((a) => short2(a, a.id === now, sum(a.id))), all.length > 6 && h('a', { class: 'acct link', href: '#/accounts' }, t('more', { n: all.length - 6 })),
    all.length > 0 && h('div', { class: 'pair narrow' }, h('a', { href: '#/chats', 'aria-current': place === 'chats' ? 'page' : null, title: words.chats }, icon('chat'), h('span', { class: 'wide' }, words.chats))),
    h('div', { class: 'pair' }, item('accounts', 'phone'), !state.server.key?.readOnly && !only && h('button', { type: 'button', class: 'add', onclick: addAccount, 'aria-label': words.addAccount, title: words.addAccount }, icon('plus'))),
    item('webhooks', 'hook', state.hooksFailing > 0 && h('span', { class: 'count bad' }, state.hooksFailing)),
    !only && [item('keys', 'key', null, true), item('server', 'pulse', trouble && h('span', { class: 'count bad' }, '!')), item('settings', 'sliders', null, true)],
    h('div', { class: 'gap' }),
    h('div', { class: 'foot' }, h('button', { type: 'button', title: words.reference, onclick: reference }, icon('book'), h('span', { class: 'wide' }, words.reference)), h('button', { type: 'button', title: words.appearance, 'aria-haspopup': 'menu', onclick: (e) => appearance(e.currentTarget) }, icon('moon'), h('span', { class: 'wide' }, words.appearance), h('span', { class: 'wide grow cut muted' }, words[look()]))),
    h('p', { class: 'small muted wide foot' }, t('version', { version: state.server.version, time: span(Date.now() - Date.parse(state.server.startedAt)) })));
  if (focused) nav.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

function appearance(at) {
  menu(at, [...['automatic', 'light', 'dark'].map((key) => [`${look() === key ? '✓ ' : ''}${words[key]}`, () => { store.set('wildcat.look', key === 'automatic' ? '' : key); paint(); draw(); }]),
    [`${store.get('wildcat.nokeys') ? '' : '✓ '}${words.singleKeys}`, () => store.set('wildcat.nokeys', store.get('wildcat.nokeys') ? '' : 'yes')]]);
}

/** The document needs a key, which an address must not carry: fetched here, opened from memory. */
async function reference() {
  const answer = await fetch('openapi.json', { headers: { 'X-Api-Key': state.key } });
  window.open(URL.createObjectURL(await answer.blob()), '_blank', 'noopener');
}

// What went away
let closedLocal = store.get('wildcat.local') === 'closed', storage = null, crowded = false;
function tellNotices() {
  const bar = (cls, symbol, ...content) => h('div', { class: `notice ${cls}` }, symbol && icon(symbol), ...content);
  const s = state.server;
  fill(notices,
    s.sandbox && bar('', 'alert', h('span', { class: 'grow' }, rich('sandbox')), h('span', { class: 'extra' })),
    !state.online && bar('', 'again', h('div', { class: 'grow' }, h('b', {}, words.gone), h('div', { class: 'small', 'data-again': '1' }, again()))),
    crowded && bar('', 'alert', words.crowded), storage && bar('bad', 'alert', storage),
    s.version && version && s.version !== version && bar('', 'again', h('span', { class: 'grow' }, words.updated), button(words.reload, () => location.reload())),
    !s.sandbox && s.local && s.hasKeys === false && !s.open && !closedLocal && bar('', 'alert', h('span', { class: 'grow' }, words.onlyHere, ' ', h('code', {}, 'sudo wildcat key add NAME')), iconButton('copy', words.copy, () => copy('sudo wildcat key add NAME')), iconButton('x', words.close, () => { closedLocal = true; store.set('wildcat.local', 'closed'); tellNotices(); })));
  emit('notices', notices);
}
const again = () => t('goneMore', { s: Math.max(0, Math.ceil(((state.nextTry || 0) - Date.now()) / 1000)), time: clock(state.asOf) });
setInterval(() => { const line = notices.querySelector('[data-again]'); if (line) line.textContent = again(); }, 1000);
on('online', async (now) => {
  tellNotices();
  draw();
  if (!now) return say(words.gone, false, true);
  say(words.backAgain, true);
  state.server = await get('server').catch(() => state.server);
  accounts().catch(() => {});
  countUnread();
  tellNotices();
});
on('crowded', (now) => { crowded = now; tellNotices(); });
on('reset', () => { say(words.tooLong, true); accounts().catch(() => {}); countUnread(); });
on('nokey', () => {
  if (!state.server.version) return;
  const had = state.key;
  state.server = { ...state.server, version: undefined, hasKeys: true };
  setKey('');
  keyView();
  if (had) say(words.keyRemoved, true, true);
});
on('accounts', () => {
  draw();
  title();
  if (list && !state.accounts.has(list.of)) route();
});
async function troubles() {
  try { const now = await health(); trouble = now.healthy === false; storage = now.storage.problem; } catch { /* The bar says it. */ }
  draw();
  tellNotices();
}
on('account.status', troubles);
on('unwell', troubles);

// Unread messages of each account and chat, for the side bar and the title: counted once, then followed.
async function countUnread() {
  for (const id of [...state.accounts.keys()].slice(0, 6)) {
    const found = await get(`accounts/${id}/chats?unread=true&limit=500`).catch(() => null);
    if (found) unread.set(id, new Map(found.chats.map((c) => [c.chatId, c.unreadCount])));
  }
  draw();
  title();
}
function oneMore(m) {
  if (m.fromMe) return;
  if (!unread.has(m.accountId)) unread.set(m.accountId, new Map());
  const of = unread.get(m.accountId);
  of.set(m.chatId, (of.get(m.chatId) || 0) + 1);
  draw();
  title();
}
on('message', oneMore);

// Single keys, never in fields.
let second = 0;
addEventListener('keydown', (event) => {
  if (event.ctrlKey && event.key === 'k') { event.preventDefault(); const at = document.querySelector('.acct, .top button'); if (at) chooser(at); return; }
  if (event.key === 'Escape' && open && !document.querySelector('dialog[open], .menu')) { location.hash = `#/chats/${list?.of}`; return; }
  if (event.ctrlKey || event.metaKey || event.altKey || store.get('wildcat.nokeys') || event.target.closest('input, textarea, select, dialog, .menu')) return;
  const place = Date.now() - second < 1500 && { c: 'chats', a: 'accounts', w: 'webhooks', k: 'keys', s: 'server' }[event.key];
  second = 0;
  if (place) location.hash = `#/${place}`;
  else if (event.key === 'g') { second = Date.now(); return; }
  else if (event.key === '/') { if (!list) location.hash = '#/chats'; setTimeout(() => list?.search.focus()); }
  else if (event.key === '?') { const box = dialog(words.shortcuts, h('dl', { class: 'grid' }, words.shortcutList.map(([key, what]) => h('div', { class: 'line' }, h('dt', {}, h('code', {}, key)), h('dd', { class: 'grow' }, what)))), h('div', { class: 'bar' }, button(words.close, () => box.close()))); }
  else if (event.key === '$') toggle();
  else if (event.key === 'n' && list) newChat(list.of);
  else return;
  event.preventDefault();
});

boot();
