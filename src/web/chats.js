// The list of an account's chats, and the dialog that begins one.
import { words } from './words.js';
import { button, choice, clean, dialog, field, fill, h, icon, iconButton, name, t } from './dom.js';
import { at, enc, get, on, state } from './api.js';
import { accountName, chatName, face, isGroup, kindIcon, line, number, short } from './format.js';
import { PAGE, windowed } from './list.js';

const TICK = { sent: 'check', delivered: 'checks', read: 'checks', played: 'checks', pending: 'clock', failed: 'alert' };

/** `current` tells which chat is open. `box`, `end`, `read(jid)`, `focusSearch`, `mark`. */
export function chatList(account, current) {
  const id = account.id, ends = [];
  let filter = 'all', query = '', timer;

  const load = async (page) => {
    const more = (filter === 'unread' ? '&unread=true' : filter === 'groups' ? '&groups=true' : '') + (query ? `&q=${enc(query)}` : '');
    const found = await get(`${at(id, 'chats')}?limit=${PAGE}&skip=${page * PAGE}${more}`);
    return { items: found.chats, total: found.pagination.total };
  };
  const draw = (chat) => {
    const last = chat.lastMessage, title = chatName(chat), mine = last?.fromMe, kind = last && kindIcon(last.type);
    const who = last && isGroup(chat.chatId) && !mine && (last.senderName || number(last.sender));
    const time = last && short(chat.lastMessageTime), said = last ? line(last) : '';
    return h('a', { class: 'row', href: `#/chats/${id}/${enc(chat.chatId)}`, 'aria-current': current() === chat.chatId ? 'true' : null },
      face(chat.chatId, title),
      h('div', { class: 'grow' },
        h('div', { class: 'line' }, h('b', { class: 'cut grow' }, name(title)), h('time', {}, time)),
        h('div', { class: 'line' }, h('span', { class: 'last grow' }, mine && TICK[last.status] && icon(TICK[last.status]), kind && icon(kind), h('span', { class: 'cut grow' }, h('bdi', {}, mine && !TICK[last.status] ? `${words.you}: ` : who ? `${clean(who).split(' ')[0]}: ` : '', said))), chat.unreadCount > 0 && h('span', { class: 'count' }, chat.unreadCount > 999 ? '999+' : chat.unreadCount, h('span', { class: 'sr' }, ` ${words.unread}`)))));
  };
  const empty = () => {
    if (query) return t('nothing', { q: query, name: accountName(account) });
    if (filter !== 'all') return words[filter === 'unread' ? 'noUnread' : 'noGroups'];
    return [words.noChats, h('br'), !state.server.key?.readOnly && button(words.writeFirst, () => newChat(id), 'main')];
  };
  const list = windowed({ label: words.chats, load, draw, id: (chat) => chat.chatId, empty });

  const search = h('input', { type: 'search', placeholder: t('searchIn', { name: accountName(account) }), 'aria-label': t('searchIn', { name: accountName(account) }), autocomplete: 'off', oninput: () => { clearTimeout(timer); timer = setTimeout(() => { query = search.value.trim(); list.refresh(); }, 300); } });
  search.addEventListener('keydown', (e) => { if (e.key === 'ArrowDown') { e.preventDefault(); list.box.querySelector('.row')?.focus(); } });
  const chips = h('div', { class: 'chips' });
  const drawChips = () => fill(chips, choice([['all', words.all], ['unread', words.unread], ['groups', words.groups]], filter, (to) => { filter = to; drawChips(); list.box.scrollTop = 0; list.refresh(); }));
  drawChips();

  async function moved(m) {
    if (m.accountId !== id || filter === 'groups' && !isGroup(m.chatId)) return;
    const n = list.find(m.chatId), was = list.items()[n];
    if (!was || query || filter === 'unread') return refreshSoon();
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
  let came;
  const here = new Promise((done) => { came = done; });
  list.refresh().then(came);
  const add = () => !state.server.key?.readOnly && iconButton('plus', words.newChat, () => newChat(id), 'main');
  const box = h('div', { class: 'side', role: 'region', 'aria-label': words.chats }, h('div', { class: 'find' }, h('div', { class: 'box' }, icon('search'), search), add()), chips, list.box);
  return {
    box, search,
    chat: (jid) => list.items()[list.find(jid)],
    // Resolves to a chat's summary once the first page is here.
    soon: (jid) => here.then(() => list.items()[list.find(jid)]),
    mark: () => list.redraw(),
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
