// Linking a phone: by QR code, by number, with a passkey.
import { words } from './words.js';
import { button, code, copy, dot, field, fill, h, icon, iconButton, name, rich, say, t } from './dom.js';
import { PICTURE, accounts, at, call, file, get, on, state } from './api.js';
import { accountName, count, number, span } from './format.js';
import { shows, toggle } from './shell.js';

export function linkView(account) {
  const id = account.id, body = h('div', { class: 'scroll grow' }), foot = h('div', { class: 'stand' }), ends = [];
  let tab = matchMedia('(pointer: coarse) and (max-width: 719px)').matches ? 'number' : 'qr';
  let status = {}, picture, shownCode, expires = 0, life = 20_000, pair, asked = '', came = 0, wasLinked = false, began = Date.now(), passkey;
  const title = h('h1', { tabindex: '-1' }, words.linkTitle), sub = h('p', { class: 'second muted' });
  const view = h('div', { class: 'pane' }, h('header', { class: 'top' }, h('a', { class: 'icon', href: '#/accounts', 'aria-label': words.back }, icon('back')), h('div', { class: 'grow' }, title, sub), iconButton('shell', words.shell, toggle, 'phone-only')), body, foot);
  shows({ method: 'POST', path: at(id, 'pair-code'), body: { phone: '+49 1512 3456789' } });

  async function look() {
    try { status = await get(at(id, 'status')); } catch { return; }
    if (status.status === 'passkey_required' && !passkey) passkey = await get(at(id, 'passkey')).catch(() => null);
    await show();
  }
  async function show() {
    const ok = status.status === 'connected';
    if (ok && !wasLinked) { wasLinked = true; await accounts().catch(() => {}); }
    if (status.qr && status.qr !== shownCode) {
      const fresh = await file(`${at(id, 'qr')}?format=png`, PICTURE).catch(() => null);
      if (fresh) { if (picture) URL.revokeObjectURL(picture); picture = fresh.url; shownCode = status.qr; expires = status.qrExpiresAt ? Date.parse(status.qrExpiresAt) : 0; life = Math.max(1000, expires - Date.now()); }
    }
    draw();
  }

  function draw() {
    const a = state.accounts.get(id) || account, s = status.status, linked = s === 'connected';
    fill(title, linked ? words.linkedTitle : words.linkTitle);
    fill(sub, linked ? words.account : words.toAccount, ' ', h('b', {}, name(id)));
    foot.hidden = linked;
    if (linked) return fill(body, done(a));
    const waits = s === 'not_started' || s === 'disconnected' || s === 'logged_out';
    fill(foot, dot(waits ? 'off' : 'warn'), h('span', { class: 'grow' }, waits ? (s === 'logged_out' ? words.unlinked : words.notLinked) : status.hasQR ? words.waitsPhone : status.jid ? words.scanned : words.asking), waits ? '' : button(words.cancel, cancel, 'plain'));
    foot.firstChild.classList.toggle('bad', false);
    foot.firstChild.parentNode.querySelector('.dot').style.color = waits ? '' : 'var(--warn)';
    if (s === 'passkey_required') return fill(body, h('div', { class: 'link-view' }, passkeyView()));
    const keep = document.activeElement?.dataset?.keep, tabs = h('div', { class: 'seg', role: 'tablist' }, [['qr', words.qrTab], ['number', words.numberTab]].map(([key, label]) => h('button', { type: 'button', role: 'tab', 'data-keep': key, 'aria-selected': String(tab === key), tabindex: tab === key ? '0' : '-1', onclick: () => { tab = key; draw(); }, onkeydown: (e) => { if (/^Arrow(Left|Right)$/.test(e.key)) { tab = tab === 'qr' ? 'number' : 'qr'; draw(); body.querySelector('[aria-selected=true]').focus(); } } }, label)));
    if (tab === 'number' && body.querySelector('[data-form]') && !pair) return;
    fill(body, h('div', { class: 'link-view' }, tabs, tab === 'qr' ? qrView(waits) : numberView()));
    if (keep) body.querySelector(`[data-keep=${keep}]`)?.focus();
  }
  const timer = (left, all, label) => { const bar = h('i', {}); bar.style.width = `${Math.max(0, Math.min(100, left / all * 100))}%`; return h('div', { class: 'bar' }, h('div', { class: 'timer' }, bar), h('span', { class: 'muted second' }, label)); };
  const steps = (...keys) => h('ol', { class: 'steps' }, keys.map((key) => h('li', {}, h('span', {}, rich(key)))));

  function qrView(waits) {
    const left = expires - Date.now(), late = Date.now() - began > 10_000;
    return [
      h('div', { class: `card qr ${waits ? 'over' : ''}` }, picture && (status.hasQR || waits) ? h('img', { src: picture, alt: words.qrName }) : null,
        waits ? h('div', { class: 'msgbox' }, h('p', {}, status.status === 'not_started' ? words.notInTime : status.lastError || words.notScanned), h('br'), button(words.newCodes, () => { began = Date.now(); call('POST', at(id, 'connect')).then(look).catch((e) => say(e.message, true, true)); }, 'main'))
          : !status.hasQR && h('div', { class: 'msgbox' }, status.jid ? words.scanned : late && status.lastError ? t('outOfReach', { why: status.lastError }) : words.asking)),
      status.hasQR && expires > 0 && timer(left, life, t('nextCode', { s: Math.max(0, Math.ceil(left / 1000)) })),
      steps('step1', 'step2', 'step3'),
      h('p', { class: 'muted' }, words.sameDevice, ' ', button(words.useNumber, () => { tab = 'number'; draw(); body.querySelector('input')?.focus(); }, 'plain')),
    ];
  }

  function numberView() {
    if (!pair) {
      const to = field(words.phoneField, { type: 'tel', inputmode: 'tel', placeholder: '+49 1512 3456789', value: asked, autocomplete: 'tel' });
      const ask = async (e) => {
        e?.preventDefault();
        asked = to.input.value;
        try { const got = await call('POST', at(id, 'pair-code'), { phone: asked }); pair = { ...got, until: Date.parse(got.expiresAt), life: Date.parse(got.expiresAt) - Date.now() }; draw(); } catch (error) { to.says(t('noCode', { why: error.message })); }
      };
      return h('form', { class: 'card pad', 'data-form': '1', onsubmit: ask }, to.box, h('button', { class: 'btn main big' }, words.getCode));
    }
    const left = pair.until - Date.now();
    return [
      h('div', { class: 'card pad' }, h('div', { class: 'bar' }, h('span', { class: 'muted grow' }, t('forNumber', { number: asked })), button(words.change, () => { pair = null; draw(); body.querySelector('input').focus(); }, 'plain')),
        left > 0 ? [h('div', { class: 'letters', 'aria-label': [...pair.code].join(' '), role: 'img' }, [...pair.code].map((c, n) => [n === 4 && '-', h('b', {}, c)])), h('div', { class: 'mid' }, button([icon('copy'), words.copyCode], () => copy(pair.code), 'plain'))]
          : [h('p', {}, h('br'), words.oldCode), h('br'), button(words.newCode, async () => { try { const got = await call('POST', at(id, 'pair-code'), { phone: asked }); pair = { ...got, until: Date.parse(got.expiresAt), life: Date.parse(got.expiresAt) - Date.now() }; draw(); } catch (error) { say(error.message, true, true); } }, 'main')]),
      left > 0 && timer(left, pair.life, t('goodFor', { time: span(left) })),
      steps('pair1', 'pair2', 'pair3'),
    ];
  }

  function passkeyView() {
    if (!passkey) return words.wait;
    if (passkey.code) return h('div', { class: 'card pad mid' }, h('h2', {}, rich('pkCompare', { code: passkey.code })), h('br'), h('div', { class: 'bar' }, button(words.pkYes, () => step('POST', 'passkey/confirm'), 'main'), button(words.pkNo, () => step('DELETE', 'passkey'))));
    const answer = field(words.pkField, { rows: 4 }, 'textarea');
    const guide = h('pre', { class: 'code' });
    fetch(`${at(id, 'passkey')}/guide`, { headers: { 'X-Api-Key': state.key } }).then((r) => r.text()).then((text) => fill(guide, text, iconButton('copy', words.copy, () => copy(text)))).catch(() => {});
    const check = async (e) => {
      e.preventDefault();
      try { await call('POST', at(id, 'passkey'), JSON.parse(answer.input.value)); passkey = null; look(); } catch (error) { answer.says(error.message); }
    };
    return [h('p', {}, words.pkAsks), h('br'), guide, h('details', {}, h('summary', {}, words.pkSafe, icon('down')), h('p', { class: 'muted' }, words.pkWhy)), h('form', { onsubmit: check }, answer.box, h('div', { class: 'bar' }, h('button', { class: 'btn main' }, words.pkCheck), button(words.cancel, () => step('DELETE', 'passkey'))))];
  }
  const step = (method, path) => call(method, `${at(id)}/${path}`).then(() => { passkey = null; look(); }).catch((e) => say(e.message, true, true));

  function done(a) {
    return h('div', { class: 'link-view' }, h('div', { class: 'tick' }, icon('check')), h('div', { class: 'mid' }, h('h1', {}, t('connectedAs', { name: (a.pushName || accountName(a)) })), h('p', { class: 'muted' }, number(a.jid))),
      h('div', { class: 'card pad' }, h('div', { class: 'bar' }, h('b', { class: 'grow' }, words.receiving), h('span', { class: 'muted' }, came > 0 && t('messagesN', { n: count(came) }))), h('p', { class: 'muted second' }, words.historyNote)),
      h('p', {}, h('a', { class: 'btn main big', href: `#/chats/${id}` }, words.openTheChats)), h('br'),
      button(words.testSelf, async (e) => { const key = e.target; key.disabled = true; try { await call('POST', at(id, 'message', 'send'), { to: a.jid, message: words.testText }); say(words.sent, true); } catch (error) { say(error.message, true, true); } key.disabled = false; }, 'big'),
      h('p', { class: 'muted second' }, h('br'), words.phoneOff));
  }
  async function cancel() {
    await call('POST', at(id, 'disconnect')).catch(() => {});
    await accounts().catch(() => {});
    location.hash = '#/accounts';
  }

  async function counted() {
    const found = await get(`messages?accountId=${id}&limit=1`).catch(() => null);
    if (found && found.pagination.total !== came) { came = found.pagination.total; if (status.status === 'connected') draw(); }
  }
  const mine = (e) => { if (e.accountId === id) look(); };
  ends.push(on('account.status', mine), on('account.qr', mine), on('account.passkey', (e) => { if (e.accountId === id) { passkey = null; look(); } }), on('online', look), on('account.history', (e) => { if (e.accountId === id) { came = e.messages; draw(); } }));
  const tick = setInterval(() => { if (status.status === 'connecting') draw(); else if (status.status === 'connected' && !(ticks++ % 3)) counted(); }, 1000);
  let ticks = 0;
  look();
  return { box: view, alone: true, end() { clearInterval(tick); if (picture) URL.revokeObjectURL(picture); for (const end of ends) end(); } };
}
