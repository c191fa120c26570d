// Accounts: their states in words, and what can be done about each.
import { words } from './words.js';
import { button, confirmBox, dialog, dot, field, fill, h, head, icon, iconButton, menu, name, pill, rich, say, t } from './dom.js';
import { accounts, at, call, on, state } from './api.js';
import { accountName, clock, number, span, when } from './format.js';
import { shows } from './shell.js';

const may = () => !state.server.key?.readOnly;

/** What an account's state is in words: {kind, pill, line, more, label, go}. */
export function standing(a, act = {}) {
  const since = a.since || a.updatedAt, next = a.nextAttempt && Date.parse(a.nextAttempt) - Date.now();
  if (!state.online) return { kind: 'off', pill: words.unknown, line: t('asOf', { time: clock(state.asOf) }) };
  switch (a.status) {
    case 'connected': return { kind: 'ok', pill: words.connected, line: rich('sinceShown', { time: when(since) }), more: a.lastError, label: words.openChats, go: `#/chats/${a.id}` };
    case 'passkey_required': return { kind: 'warn', pill: words.passkey, line: words.wantsPasskey, label: words.goOn, go: `#/accounts/${a.id}/link`, main: true };
    case 'connecting': return a.hasQR ? { kind: 'warn', pill: words.waiting, line: words.codeWaits, label: words.showCode, go: `#/accounts/${a.id}/link`, main: true } : { kind: 'warn', pill: words.connecting, line: a.lastError || words.reaching, ...(a.jid ? {} : { label: words.showCode, go: `#/accounts/${a.id}/link` }) };
    case 'reconnecting':
      if (a.reason === 'replaced') return { kind: 'bad', pill: words.elsewhere, line: words.tookOver, label: words.connectHere, job: act.connect };
      return { kind: 'warn', pill: words.reconnecting, line: a.lastError || words.lostLine, more: next > 0 && a.attempt ? t('attempt', { n: a.attempt, time: span(next) }) : '', label: words.tryNow, job: act.connect };
    case 'logged_out':
      if (a.reason === 'banned' || a.bannedUntil) return { kind: 'bad', pill: words.banned, line: a.bannedUntil ? t('bannedFor', { time: span(Date.parse(a.bannedUntil) - Date.now()) }) : words.bannedOpen, more: a.lastError, label: words.whatNow, job: act.help };
      return { kind: 'bad', pill: words.unlinked, line: t('removedLine', { time: when(since) }), more: a.lastError, label: words.linkAgain, job: act.link, main: true };
    case 'disconnected': return { kind: 'off', pill: words.off, line: t('offLine', { time: when(since) }), label: words.connect, job: act.connect };
    default: return { kind: 'off', pill: words.notLinked, line: a.lastError || words.notScanned, label: words.linkPhone, job: act.link, main: true };
  }
}

const failed = (error) => say(error.message, true, true);
const actions = (a) => ({
  connect: () => call('POST', at(a.id, 'connect')).then(accounts).catch(failed),
  link: () => call('POST', at(a.id, 'connect')).then(() => { location.hash = `#/accounts/${a.id}/link`; }).catch(failed),
  help: () => { const box = dialog(words.whatNow, h('ul', { class: 'steps' }, words.banHelp.map((line) => h('li', {}, line))), h('div', { class: 'bar' }, button(words.close, () => box.close()))); },
});

export function accountsView() {
  const list = h('ul', { class: 'accts card' }), page = h('div', { class: 'page' });
  const draw = () => {
    const all = [...state.accounts.values()], focused = document.activeElement?.closest?.('[data-id]')?.dataset.id, which = [...(document.activeElement?.closest?.('[data-id]')?.querySelectorAll('.btn, .icon') || [])].indexOf(document.activeElement);
    fill(list, all.map((a) => {
      const s = standing(a, actions(a));
      return h('li', { 'data-id': a.id },
        h('div', {}, h('b', { class: 'cut' }, name(accountName(a))), h('div', { class: 'muted second' }, a.jid ? number(a.jid) : words.notYet)),
        h('div', { class: 'state' }, pill(s.kind, s.pill)),
        h('p', { class: 'words' }, s.line, s.more && h('span', { class: 'muted' }, ' ', s.more)),
        s.label && may() ? (s.go ? h('a', { class: `btn ${s.main ? 'main' : ''}`, href: s.go }, s.label) : button(s.label, s.job, s.main ? 'main' : '')) : h('span', {}),
        may() ? iconButton('more', `${words.menu}: ${accountName(a)}`, (e) => more(a, e.currentTarget), '', { 'aria-haspopup': 'menu' }) : h('span', {}));
    }));
    if (focused) list.querySelectorAll(`[data-id="${focused}"] :is(.btn, .icon)`)[which]?.focus();
    fill(page, head(words.accounts, words.accountsAre, may() && state.server.key?.account === undefined | !state.server.key?.account && button([icon('plus'), words.addAccount], addAccount, 'main')),
      all.length ? list : h('div', { class: 'empty card' }, words.noAccount, h('br'), may() && button(words.addAccount, addAccount, 'main')),
      all.length > 0 && h('p', { class: 'muted second', 'aria-hidden': null }, h('br'), words.fourteen));
  };
  draw();
  shows({ method: 'POST', path: 'accounts', body: { id: 'home' } });
  const ends = [on('accounts', draw), on('online', draw)], tick = setInterval(() => { if ([...state.accounts.values()].some((a) => a.nextAttempt && a.status === 'reconnecting')) draw(); }, 1000);
  return { box: page, end() { clearInterval(tick); for (const end of ends) end(); } };
}

function more(a, where) {
  menu(where, [
    [words.rename, () => rename(a)],
    !['disconnected', 'not_started', 'logged_out'].includes(a.status) && [words.disconnect, () => call('POST', at(a.id, 'disconnect')).then(accounts).catch(failed), words.stays],
    [words.remove, () => remove(a)],
  ]);
}

function rename(a) {
  const to = field(words.accountName, { value: a.name || '', maxlength: 256 });
  const box = dialog(words.rename, h('form', { onsubmit: async (e) => { e.preventDefault(); try { await call('PATCH', at(a.id), { name: to.input.value }); await accounts(); box.close(); } catch (error) { to.says(error.message); } } }, to.box, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), h('button', { class: 'btn main' }, words.save))));
}

function remove(a) {
  const typed = field(words.idField, { oninput: () => { go.disabled = typed.input.value !== a.id; } }), go = h('button', { class: 'btn main danger', disabled: true }, words.remove);
  const box = dialog(t('removeTitle', { name: accountName(a) }), h('p', {}, rich('removeAsk', { id: a.id })), h('br'), h('form', { onsubmit: async (e) => { e.preventDefault(); try { await call('DELETE', at(a.id)); await accounts(); box.close(); } catch (error) { typed.says(error.message); } } }, typed.box, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), go)));
}

/** Letters of the name that an id may have. */
const asId = (text) => text.normalize('NFD').replace(/[\u0300-\u036f]/g, '').toLowerCase().replace(/[^a-z0-9_-]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 64);

export function addAccount() {
  const title = field(words.accountName, { maxlength: 256 }), own = field(words.idField, { maxlength: 64 });
  let touched = false;
  const shown = () => own.input.value || 'home';
  title.input.addEventListener('input', () => { if (!touched) own.input.value = asId(title.input.value); shows({ method: 'POST', path: 'accounts', body: { id: shown(), name: title.input.value } }); });
  own.input.addEventListener('input', () => { touched = true; });
  const go = async (event) => {
    event.preventDefault();
    const id = shown();
    if (!/^[\w-]{1,64}$/.test(id)) return own.says(words.idForm);
    if (state.accounts.has(id)) return own.says(t('taken', { id }).replaceAll('`', ''));
    try {
      await call('POST', 'accounts', { id, ...(title.input.value ? { name: title.input.value } : {}) });
      await accounts();
      box.close();
      location.hash = `#/accounts/${id}/link`;
    } catch (error) { title.says(error.message); }
  };
  const box = dialog(words.addAccount, h('form', { onsubmit: go }, title.box, own.box, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), h('button', { class: 'btn main' }, words.add))));
  title.input.focus();
}

/** An account with its state, as the side bar has it. */
export function short2(a, here, unread) {
  const s = standing(a);
  return h('a', { class: 'acct', href: `#/chats/${a.id}`, 'aria-current': here ? 'page' : null }, h('span', { class: s.kind === 'off' ? '' : s.kind }, dot(s.kind)), h('span', { class: 'grow' }, h('b', { class: 'cut' }, name(accountName(a))), h('span', { class: `small ${s.kind === 'ok' || s.kind === 'off' ? 'muted' : s.kind}` }, s.pill)), unread > 0 && h('span', { class: 'count' }, unread));
}
