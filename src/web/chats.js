// The list of an account's chats, and the dialog that begins one.
import { words } from './words.js';
import { button, choice, dialog, field, fill, h, icon, iconButton, name, say, t } from './dom.js';
import { at, enc, get, on, state } from './api.js';
import { accountName, chatName, face, isGroup, kindIcon, line, short } from './format.js';
import { PAGE, windowed } from './list.js';
import { firstName, hits } from './search.js';

const TICK = { sent: 'check', delivered: 'checks', read: 'checks', played: 'checks', pending: 'clock', failed: 'alert' };

/** `current` tells which chat is open. `box`, `end`, `read(jid)`, `focusSearch`, `mark`. */
export function chatList(account, current) {
  const id = account.id, ends = [];
  let filter = 'all', timer, hides = false;

  const load = async (page) => {
    const found = await get(`${at(id, 'chats')}?limit=${PAGE}&skip=${page * PAGE}${filter === 'all' ? '' : `&${filter}=true`}${hides && filter !== 'archived' ? '&archived=false' : ''}`);
    return { items: found.chats, total: found.pagination.total };
  };
  const draw = (chat) => {
    const last = chat.lastMessage, title = chatName(chat), mine = last?.fromMe, kind = last && kindIcon(last.type);
    const who = last && isGroup(chat.chatId) && !mine && firstName({ ...last, senderName: last.senderName || list.items().find((c) => c?.chatId === last.sender)?.name });
    const time = last && short(chat.lastMessageTime), said = last ? line(last) : '';
    return h('a', { class: 'row', href: `#/chats/${id}/${enc(chat.chatId)}`, 'aria-current': current() === chat.chatId ? 'true' : null },
      face(chat.chatId, title),
      h('div', { class: 'grow' },
        h('div', { class: 'line' }, h('b', { class: 'cut grow' }, name(title)), h('time', {}, time)),
        h('div', { class: 'line' }, h('span', { class: 'last grow' }, mine && TICK[last.status] && icon(TICK[last.status]), kind && icon(kind), h('span', { class: 'cut grow' }, h('bdi', {}, mine && !TICK[last.status] ? `${words.you}: ` : who ? `${who}: ` : '', said))), chat.muted && h('span', { class: 'small muted' }, words.muted), chat.pinned && [icon('tack', 'mini'), h('span', { class: 'sr' }, words.pinned)], chat.unreadCount > 0 && h('span', { class: 'count' }, chat.unreadCount > 999 ? '999+' : chat.unreadCount, h('span', { class: 'sr' }, ` ${words.unread}`)))));
  };
  const empty = () => {
    if (filter !== 'all') return words[{ unread: 'noUnread', groups: 'noGroups', archived: 'noArchived' }[filter]];
    return [words.noChats, h('br'), !state.server.key?.readOnly && button(words.writeFirst, () => newChat(id), 'main')];
  };
  const list = windowed({ label: words.chats, load, draw, id: (chat) => chat.chatId, empty });

  const search = h('input', { type: 'search', placeholder: t('searchIn', { name: accountName(account) }), 'aria-label': t('searchIn', { name: accountName(account) }), autocomplete: 'off', oninput: () => find() });
  search.addEventListener('keydown', (e) => {
    if (e.key === 'ArrowDown') { e.preventDefault(); box.querySelector('.row')?.focus(); }
    if (e.key === 'Escape' && search.value) { e.stopPropagation(); search.value = ''; find(); }
  });
  const found = h('div', { class: 'found rows', onkeydown: (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key], all = [...found.querySelectorAll('.row')];
    if (step) { e.preventDefault(); (all[all.indexOf(document.activeElement) + step] || search).focus(); }
  } });
  let turn = 0;
  /** Names at once; messages when nothing was typed for 300 ms. */
  async function find() {
    const mine = ++turn, q = search.value.trim(), isOld = () => mine !== turn;
    clearTimeout(timer);
    if (!q) { if (found.isConnected) { found.replaceWith(chips, list.box); list.redraw(); } return; }
    const { chats } = await get(`${at(id, 'chats')}?limit=20&q=${enc(q)}`).catch(() => ({ chats: [] }));
    if (isOld()) return;
    if (!found.isConnected) { chips.remove(); list.box.replaceWith(found); }
    const messages = h('ul', {}), title = h('h2', { hidden: true }, words.messages), none = h('p', { class: 'empty', hidden: true }, t('nothing', { q, name: accountName(account) }));
    fill(found, chats.length > 0 && h('h2', {}, words.chats), h('ul', {}, chats.map((chat) => h('li', {}, draw(chat)))), title, messages, none);
    timer = setTimeout(async () => {
      const n = await hits(id, q, messages, { isOld }).catch(() => 0);
      if (isOld()) return;
      title.hidden = !n;
      none.hidden = n > 0 || chats.length > 0;
      say(t('foundN', { chats: chats.length, n }));
    }, 300);
  }
  const chips = h('div', { class: 'chips' });
  const drawChips = () => fill(chips, choice([['all', words.all], ['unread', words.unread], ['groups', words.groups], ...(hides ? [['archived', words.archived]] : [])], filter, (to) => { filter = to; drawChips(); list.box.scrollTop = 0; list.refresh(); }));
  drawChips();

  async function moved(m) {
    if (m.accountId !== id || filter === 'groups' && !isGroup(m.chatId)) return;
    const n = list.find(m.chatId), was = list.items()[n];
    if (!was || filter === 'unread') return refreshSoon();
    const newer = m.timestamp >= (was.lastMessageTime || 0), unread = m.event === 'message' && !m.fromMe && was.lastMessage?.messageId !== m.messageId;
    const chat = { ...was, name: m.chatName || was.name, unreadCount: was.unreadCount + (unread ? 1 : 0) };
    if (newer) Object.assign(chat, { lastMessageTime: m.timestamp, lastMessage: m });
    list.first(chat, true);
  }
  let soon;
  function refreshSoon() {
    clearTimeout(soon);
    // The page that is seen is read anew; what is further down when it comes into view.
    soon = setTimeout(() => (list.box.scrollTop < 7200 ? list.refresh() : 0), 300);
  }
  ends.push(on('message', moved), on('message.sent', moved), on('reset', () => list.refresh()), on('online', (now) => now && refreshSoon()),
    on('message.status', (e) => { if (e.accountId === id) list.change(e.chatId, (chat) => (chat.lastMessage?.messageId === e.messageId ? { ...chat, lastMessage: { ...chat.lastMessage, status: e.status } } : chat)); }),
    on('message.edited', (e) => e.accountId === id && list.change(e.chatId, (chat) => (chat.lastMessage?.messageId === e.messageId ? { ...chat, lastMessage: e } : chat))),
    on('message.deleted', (e) => e.accountId === id && list.change(e.chatId, (chat) => (chat.lastMessage?.messageId === e.messageId ? { ...chat, lastMessage: { ...chat.lastMessage, deleted: true } } : chat))));
  ends.push(on('chat', (e) => { if (e.accountId === id) turned({ ...e, name: e.chatName || undefined }); }), () => clearTimeout(timer));
  /** A chat was archived, pinned, muted or marked, here or on the phone. */
  function turned(chat) {
    const was = list.items()[list.find(chat.chatId)];
    if (chat.archived && !hides) { hides = true; drawChips(); }
    if (was && !chat.removed && was.archived === chat.archived && filter !== 'unread') list.change(chat.chatId, (old) => ({ ...old, pinned: chat.pinned, muted: chat.muted, unreadCount: chat.unreadCount ?? old.unreadCount }));
    else refreshSoon();
  }
  let came;
  const here = new Promise((done) => { came = done; });
  list.refresh().then(came);
  // The server looks through all chats for a filter: only where some are archived.
  get(`${at(id, 'chats')}?archived=true&limit=1`).then((is) => { if (is.pagination.total) { hides = true; drawChips(); list.refresh(); } }, () => {});
  const add = () => !state.server.key?.readOnly && iconButton('plus', words.newChat, () => newChat(id), 'main');
  const box = h('div', { class: 'side', role: 'region', 'aria-label': words.chats }, h('div', { class: 'find' }, h('div', { class: 'box' }, icon('search'), search), add()), chips, list.box);
  return {
    box, search,
    chat: (jid) => list.items()[list.find(jid)],
    // Resolves to a chat's summary once the first page is here.
    soon: (jid) => here.then(() => list.items()[list.find(jid)] || get(`${at(id, 'chats')}?archived=true&limit=100`).then((is) => is.chats.find((c) => c.chatId === jid))).catch(() => null),
    mark: () => list.redraw(),
    changed: turned,
    read: (jid) => list.change(jid, (chat) => ({ ...chat, unreadCount: 0 })),
    end() { list.end(); for (const end of ends) end(); },
  };
}

export function newChat(id) {
  const to = field(words.toNumber, { type: 'tel', inputmode: 'tel', placeholder: '+49 1512 3456789' });
  const go = (event) => {
    event.preventDefault();
    const digits = to.input.value.replace(/\D/g, '').replace(/^00/, '');
    if (to.input.value.trim().startsWith('@')) location.hash = `#/chats/${id}/${enc(to.input.value.trim())}`;
    else if (/^[1-9]\d{6,14}$/.test(digits)) location.hash = `#/chats/${id}/${digits}@s.whatsapp.net`;
    else return to.says(words.toNumber);
    box.close();
  };
  const box = dialog(words.newChat, h('form', { onsubmit: go }, to.box, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), h('button', { class: 'btn main' }, words.write))));
}
