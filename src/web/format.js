// Times, sizes, numbers and names, as people write them.
import { words } from './words.js';
import { clean, h } from './dom.js';

const days = (at) => Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 864e5);
export const clock = (at) => new Date(at).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
const date = (at, options) => new Date(at).toLocaleDateString('en-GB', options);

/** 09:44, Yesterday, Wed, 3 Nov. */
export function short(at) {
  const n = days(at);
  if (n <= 0) return clock(at);
  if (n === 1) return words.yesterday;
  return n < 7 ? date(at, { weekday: 'short' }) : date(at, { day: 'numeric', month: 'short', year: n > 300 ? 'numeric' : undefined });
}

/** Today, Yesterday, Monday, 3 November. */
export function day(at) {
  const n = days(at);
  return n <= 0 ? words.today : n === 1 ? words.yesterday : date(at, { weekday: 'long', day: 'numeric', month: 'long', year: n > 300 ? 'numeric' : undefined });
}

/** today 08:12, Monday, 15 November. */
export function when(at) {
  const n = days(at);
  if (n <= 0) return `${words.today.toLowerCase()} ${clock(at)}`;
  return n < 7 ? date(at, { weekday: 'long' }) : date(at, { day: 'numeric', month: 'long' });
}

export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000)), m = Math.floor(s / 60), hours = Math.floor(m / 60);
  if (s < 60) return `${s} s`;
  if (m < 60) return s % 60 && m < 10 ? `${m} min ${s % 60} s` : `${m} min`;
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`;
}

export const length = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;
export const count = (n) => Number(n).toLocaleString('en-GB');
export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A number or a group's id as it is known to people. */
export function number(jid) {
  const [user, server] = String(jid || '').split('@');
  if (server === 's.whatsapp.net' && /^\d{7,15}$/.test(user)) return `+${user.slice(0, 2)} ${user.slice(2, 5)} ${user.slice(5)}`;
  return clean(user);
}

export const isGroup = (jid) => String(jid).endsWith('@g.us');
export const chatName = (chat) => clean(chat.name || chat.chatName || '') || (chat.username ? `@${clean(chat.username)}` : number(chat.chatId));
export const senderName = (m) => (m.fromMe ? words.you : clean(m.senderName || m.pushName || '') || (m.senderUsername ? `@${clean(m.senderUsername)}` : number(m.sender)));
export const accountName = (a) => clean(a.name || a.id);

/** One of seven hues for an id. */
export function hue(id) {
  let n = 0;
  for (const c of String(id)) n = (n * 31 + c.codePointAt(0)) >>> 0;
  return `h${n % 7}`;
}

export function face(id, title) {
  const parts = clean(title).replace(/^[+@]/, '').split(/\s+/).filter((p) => /[\p{L}\p{N}]/u.test(p));
  const letters = parts.length > 1 && !/^\d/.test(parts[0]) ? [...parts[0]][0] + [...parts.at(-1)][0] : [...(parts[0] || '?')].slice(0, 2).join('');
  return h('span', { class: `face ${hue(id)}`, 'aria-hidden': 'true' }, letters.toUpperCase());
}

/** What a message says in one line. */
export function line(m) {
  const text = clean(String(m.text || '').slice(0, 200).replace(/\s+/g, ' '));
  if (m.deleted) return words.deleted;
  if (text) return text;
  return m.type === 'waiting' ? words.waitingKind : m.type === 'unavailable' ? words.unavailable : m.type === 'unknown' ? words.unknownKind : words[m.type] || '';
}
export const kindIcon = (type) => ({ image: 'image', sticker: 'image', video: 'play', audio: 'play', voice: 'play', document: 'file', location: 'pin', contact: 'people' })[type];
