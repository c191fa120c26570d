// The server as the page sees it: requests, the stream of events, and what is known of accounts.
import { words } from './words.js';

const KEY = 'wildcat.key';
export const store = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { value ? localStorage.setItem(name, value) : localStorage.removeItem(name); } catch { /* Private windows. */ } },
};
export const state = { key: store.get(KEY) || '', server: {}, accounts: new Map(), online: true, asOf: Date.now(), last: [], hooksFailing: 0 };
export function setKey(key) { state.key = key; store.set(KEY, key); }

const ears = {};
export const on = (what, job) => { (ears[what] ||= new Set()).add(job); return () => ears[what].delete(job); };
export const emit = (what, data) => { for (const job of [...(ears[what] || [])]) job(data); };

/** A refusal: `status`, the server's words, and the fields beside them. */
export class Refusal extends Error {
  constructor(status, answer) { super(answer?.error || `HTTP ${status}`); this.status = status; this.more = answer || {}; }
}

/** Fetches; a network that fails is `status` 0. Each request carries the key header, which may be empty: so no prompt of the browser opens. */
async function raw(method, path, { body, headers, signal } = {}) {
  const form = body instanceof FormData;
  try {
    const answer = await fetch(path, {
      method, signal, cache: 'no-cache',
      headers: { 'X-Api-Key': state.key, ...(body && !form ? { 'Content-Type': 'application/json' } : {}), ...headers },
      body: form || !body ? body : JSON.stringify(body),
    });
    if (!state.online && !signal) wake();
    return answer;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    emit('lost');
    throw new Refusal(0, { error: words.gone });
  }
}

/** Asks for JSON. What changes something is noted for the shell drawer. */
export async function call(method, path, body, headers) {
  const began = Date.now();
  const answer = await raw(method, path, { body, headers });
  const json = await answer.json().catch(() => ({}));
  if (method !== 'GET') {
    state.last.unshift({ method, path, body, status: answer.status, ms: Date.now() - began, json });
    state.last.length = Math.min(state.last.length, 20);
    emit('asked');
  }
  if (answer.status === 401 && path !== 'server') emit('nokey');
  if (answer.status === 503 && path !== 'health') emit('unwell');
  if (!answer.ok) throw new Refusal(answer.status, json);
  return { ...(json.data || json), http: answer.status };
}
export const get = (path) => call('GET', path);

/** A file as an address in memory, of a kind that may be shown; `null` for all others. */
export async function file(path, shown) {
  const answer = await raw('GET', path);
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null));
  const type = (answer.headers.get('Content-Type') || '').split(';')[0];
  const blob = await answer.blob();
  return { url: !shown || shown.test(type) ? URL.createObjectURL(blob) : null, type, blob };
}
export const PICTURE = /^image\/(jpeg|png|webp|gif)$/, SOUND = /^audio\//, FILM = /^video\//;

export const enc = encodeURIComponent;
export const at = (account, ...more) => ['accounts', account, ...more].map(enc).join('/');
/** 128 random bits; `randomUUID` is for secure contexts alone. */
export const once = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

export async function accounts() {
  const { accounts: list } = await get('accounts');
  state.accounts = new Map(list.map((a) => [a.id, a]));
  emit('accounts');
}

// The stream: one for each tab, closed while the tab is hidden for 30 s, resumed behind the last event.
let after = 'latest', ended, hiddenTimer, pause = 1000, waker;
const sleep = (ms) => new Promise((done) => { waker = done; setTimeout(done, ms); });
export const wake = () => waker?.();

async function read() {
  ended = new AbortController();
  const answer = await raw('GET', `events?after=${enc(after)}${asked}`, { headers: { Accept: 'text/event-stream' }, signal: ended.signal });
  if (answer.status === 400 && asked) { asked = ''; return; }
  if (answer.status === 410) { after = 'latest'; emit('reset'); return; }
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null));
  const body = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '', quiet;
  const alive = () => { clearTimeout(quiet); quiet = setTimeout(() => ended.abort(), 50_000); state.asOf = Date.now(); };
  alive();
  back();
  if (crowded) emit('crowded', crowded = false);
  try {
    for (;;) {
      const { value, done } = await body.read();
      if (done) return;
      alive();
      text += value;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) hear(block);
    }
  } finally { clearTimeout(quiet); }
}

function hear(block) {
  const part = (name) => block.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1];
  const id = part('id'), event = part('event'), data = part('data');
  if (id) after = id;
  if (event === 'error') { after = 'latest'; emit('reset'); }
  else if (data) happened(JSON.parse(data));
}

function happened(event) {
  const account = state.accounts.get(event.accountId);
  if (event.event === 'account.status') {
    if (account) { for (const name of ['lastError', 'jid', 'bannedUntil', 'reason', 'since', 'attempt', 'nextAttempt']) if (name in event) account[name] = event[name]; account.status = account.currentStatus = event.status; if (event.status !== 'connecting') account.hasQR = false; emit('accounts'); }
    accounts().catch(() => {});
  }
  if (event.event === 'account.qr' && account) { account.hasQR = true; emit('accounts'); }
  emit(event.event, event);
  emit('event', event);
}

function back() {
  pause = 1000;
  if (state.online) return;
  state.online = true;
  emit('online', true);
}

let lostAt = 0;
on('lost', () => {
  lostAt ||= Date.now();
  // Less than 2 s is not worth a word.
  setTimeout(() => { if (lostAt && Date.now() - lostAt > 1900 && state.online) { state.online = false; emit('online', false); } }, 2000);
});

// Who types is recorded for readers that ask for it. A server that does not know a kind is asked for all others.
let asked = '';
export async function listen(kinds) {
  asked = `&types=${kinds}`;
  for (;;) {
    if (document.hidden && hiddenTimer === 'closed') { await sleep(3600e3); continue; }
    let refused;
    try { await read(); lostAt = 0; pause = 1000; } catch (error) { refused = error.status; if (error.name === 'AbortError') lostAt = 0; }
    if (refused === 401) { emit('nokey'); return; }
    if (refused === 429) { if (!crowded) emit('crowded', crowded = true); await poll(); await sleep(5000); continue; }
    if (refused === undefined) { await sleep(100); continue; }
    emit('lost');
    state.nextTry = Date.now() + pause;
    await sleep(pause);
    pause = Math.min(pause * 2, 30_000);
  }
}

/** All places of readers are taken: looks once, before it asks for a place again. */
let crowded = false;
async function poll() {
  try {
    const found = await get(`events?after=${enc(after)}`);
    if (after !== 'latest') found.events.forEach(happened);
    after = String(found.next);
    back();
  } catch (error) { if (error.status === 410) { after = 'latest'; emit('reset'); } }
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (!document.hidden) { hiddenTimer = 0; wake(); } else hiddenTimer = setTimeout(() => { hiddenTimer = 'closed'; ended?.abort(); }, 30_000);
});
addEventListener('online', wake);
on('online', (now) => { if (now) lostAt = 0; });
