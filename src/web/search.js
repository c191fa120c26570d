// Messages that have the words looked for, as rows that lead to them.
import { words } from './words.js';
import { button, clean, dialog, fill, h, name, put, t } from './dom.js';
import { at, enc, get } from './api.js';
import { chatName, face, senderName, short } from './format.js';

/** The first name of a sender, or the whole number. */
export const firstName = (m) => { const who = senderName(m); return /^\+\d/.test(who) ? who : who.split(' ')[0]; };

/** A text from a little before the first word looked for, with those words marked. */
function marked(text, q) {
  const found = q.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const all = clean(String(text).slice(0, 4000).replace(/\s+/g, ' ')), first = all.search(new RegExp(found, 'iu'));
  const from = first > 40 ? first - 30 : 0;
  return [from > 0 && '… ', all.slice(from, from + 200).split(new RegExp(`(${found})`, 'iu')).map((part, n) => (n % 2 ? h('mark', {}, part) : part))];
}

/**
 * Puts the messages with `q` into the list `into`, page by page; how many there are at first. `chat`: of this one alone;
 * `pick(message)` follows a click that stays on the page.
 */
export async function hits(id, q, into, { chat, pick, isOld = () => false } = {}) {
  if (!/[\p{L}\p{N}]/u.test(q)) return 0;
  const page = async (cursor) => {
    const found = await get(`${at(id, 'messages')}?q=${enc(q)}&limit=30${chat ? `&chat=${enc(chat)}` : ''}${cursor ? `&cursor=${enc(cursor)}` : ''}`);
    if (isOld()) return 0;
    put(into, found.messages.map((m) => h('li', {}, h('a', { class: 'row', href: `#/chats/${id}/${enc(m.chatId)}/${enc(m.messageId)}`, onclick: (e) => { if (pick) { e.preventDefault(); pick(m); } } },
      face(chat ? m.sender : m.chatId, chat ? senderName(m) : chatName(m)),
      h('div', { class: 'grow' },
        h('div', { class: 'line' }, h('b', { class: 'cut grow' }, name(chat ? senderName(m) : chatName(m))), h('time', {}, short(m.timestamp))),
        h('div', { class: 'last cut' }, h('bdi', {}, !chat && `${firstName(m)}: `, marked(m.text || m.caption || m.mediaFileName || words[m.type] || '', q))))))));
    if (found.pagination.next) {
      const more = h('li', { class: 'mid' }, button(words.moreHits, () => { more.remove(); page(found.pagination.next).catch(() => {}); }, 'plain'));
      into.append(more);
    }
    return found.messages.length;
  };
  return page();
}

/** Looks for messages of one chat; `go(message)` opens the one that is chosen. */
export function findBox(id, chat, go) {
  const found = h('ul', { class: 'found' }), none = h('p', { class: 'muted', role: 'status' });
  let timer, turn = 0;
  const look = async () => {
    const mine = ++turn, q = search.value.trim();
    fill(found);
    const n = q ? await hits(id, q, found, { chat: chat.chatId, pick: (m) => { box.close(); go(m); }, isOld: () => mine !== turn }).catch((error) => { fill(none, error.message); return 1; }) : 1;
    if (mine === turn) fill(none, n ? '' : t('nothing', { q, name: chatName(chat) }));
  };
  const search = h('input', { type: 'search', 'aria-label': words.findIn, placeholder: words.findIn, autocomplete: 'off', oninput: () => { clearTimeout(timer); timer = setTimeout(look, 300); } });
  const box = dialog(words.findIn, search, none, found, h('div', { class: 'bar' }, button(words.close, () => box.close())));
  search.focus();
}
