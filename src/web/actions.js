// What can be done with a message and with a chat: the menus and what they open.
import { words } from './words.js';
import { button, confirmBox, copy, dialog, fill, h, menu, name, say, t } from './dom.js';
import { at, call, enc, get } from './api.js';
import { chatName, face } from './format.js';
import { save } from './bubble.js';

const EMOJI = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
/** Milliseconds for which WhatsApp lets a text be changed. */
const EDITABLE = 15 * 60_000;

export const refused = (error) => say(error.message, true, true);

export function reactBox(pick) {
  const other = h('input', { 'aria-label': words.otherEmoji, placeholder: '…', maxlength: 16 });
  const go = (emoji) => { box.close(); pick(emoji); };
  const box = dialog(words.react, h('div', { class: 'emoji' }, EMOJI.map((e) => h('button', { type: 'button', onclick: () => go(e) }, e)), h('form', { onsubmit: (e) => { e.preventDefault(); if (other.value) go(other.value); } }, other)));
}

/** Finds a chat of the account and sends the message there. */
function forwardBox(m, send) {
  const found = h('ul', { class: 'pick' }), search = h('input', { type: 'search', 'aria-label': words.forwardTo, placeholder: words.forwardTo, autocomplete: 'off', oninput: () => look() });
  let turn = 0;
  const to = (chat) => { box.close(); send('forward', { messageId: m.messageId, from: m.chatId, to: chat.chatId, queue: true }).then(() => say(words.sent, true)).catch(refused); };
  async function look() {
    const mine = ++turn, { chats } = await get(`${at(m.accountId, 'chats')}?limit=20${search.value.trim() ? `&q=${enc(search.value.trim())}` : ''}`).catch(() => ({ chats: [] }));
    if (mine === turn) fill(found, chats.map((chat) => h('li', {}, h('button', { type: 'button', class: 'bar', onclick: () => to(chat) }, face(chat.chatId, chatName(chat)), name(chatName(chat))))));
  }
  const box = dialog(words.forward, search, found, h('div', { class: 'bar' }, button(words.cancel, () => box.close())));
  search.focus();
  look();
}

function deleteBox(m, send) {
  const go = (more) => () => { box.close(); send('delete', { chatId: m.chatId, messageId: m.messageId, ...more }).catch(refused); };
  const box = dialog(words.delMessage, h('div', { class: 'bar wrap' }, button(words.cancel, () => box.close()), button(words.delForMe, go({ forMe: true })), m.fromMe && button(words.delForAll, go({}), 'main danger')));
}

/** `send(what, body)` asks for it; `reply`, `react` and `edit` are the chat's. */
export function messageMenu(where, m, { send, reply, react, edit }) {
  const to = (what, more) => () => send(what, { chatId: m.chatId, messageId: m.messageId, ...more }).catch(refused);
  const text = m.text || m.caption;
  menu(where, [
    [words.reply, () => reply(m)], [words.react, () => react(m)],
    [words.forward, () => forwardBox(m, send)],
    text && [words.copyText, () => copy(text)],
    m.mediaId && [words.download, () => save(m).catch(refused)],
    m.fromMe && text && ['text', 'image', 'video', 'document'].includes(m.type) && Date.now() - m.timestamp < EDITABLE && [words.editText, () => edit(m)],
    m.starred ? [words.unstar, to('unstar')] : [words.star, to('star')],
    m.pinnedUntil > Date.now() ? [words.unpin, to('unpin')] : [words.pin, () => menu(where, [1, 7, 30].map((days) => [t('pinFor', { n: days }), to('pin', { duration: days })])), words.pinNote],
    [words.del, () => deleteBox(m, send)],
  ]);
}

/** `changed` takes the chat as it is then; `gone` follows its removal. */
export function chatMenu(where, account, chat, { may, changed, gone, read, find, shell }) {
  const base = at(account.id, 'chats', chat.chatId);
  const set = (change) => () => call('PATCH', base, change).then((got) => changed(got.chat)).catch(refused);
  const timer = (seconds) => () => call('POST', `${base}/timer`, { seconds }).then(() => changed({ ...chat, timer: seconds || undefined })).catch(refused);
  const mute = () => menu(where, [[words.muteHours, set({ mutedUntil: new Date(Date.now() + 8 * 36e5).toISOString() })], [words.muteWeek, set({ mutedUntil: new Date(Date.now() + 6048e5).toISOString() })], [words.muteAlways, set({ muted: true })]]);
  menu(where, [
    [words.findIn, find],
    ...(may ? [
      chat.unreadCount > 0 ? [words.markRead, read, words.tellsSenders] : [words.markUnread, set({ unread: true })],
      [words[chat.pinned ? 'unpin' : 'pin'], set({ pinned: !chat.pinned })],
      chat.muted ? [words.unmute, set({ muted: false })] : [words.mute, mute],
      [words[chat.archived ? 'unarchive' : 'archive'], set({ archived: !chat.archived })],
      [words.timer, () => menu(where, words.timers.map(([seconds, label]) => [`${(chat.timer || 0) === seconds ? '✓ ' : ''}${label}`, timer(seconds)])), (words.timers.find(([seconds]) => seconds === (chat.timer || 0)) || [])[1]],
    ] : []),
    shell && [words.shell, shell],
    [words.copyId, () => copy(chat.chatId), chat.chatId],
    may && [words.delChat, () => confirmBox(words.delChat, words.delChatAsk, words.delChat, () => call('DELETE', base).then(gone).catch(refused))],
  ]);
}
