// The other person's phone, in the sandbox: what is written here comes in at the page.
import { words } from './words.js';
import { phoneWords as hands } from './phonewords.js';
import { button, choice, clean, fill, h, name, put, say, status, t } from './dom.js';
import { call, get, state, store } from './api.js';
import { clock, face, number, size } from './format.js';

const base = 'sandbox/', root = document.getElementById('phone');
let title = '', people = [], own = null, who = null, inbox = { received: [], sent: [] }, seen = '', readAll = store.get('wildcat.phone.read') !== 'no', typing = 0;

function paint() {
  const look = store.get('wildcat.look');
  document.documentElement.dataset.theme = look || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
}
const does = (path, body) => call('POST', `${base}phones/${who}/${path}`, body).catch((error) => say(error.message, true));

async function start() {
  paint();
  addEventListener('storage', paint);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
  for (;;) {
    const { accounts } = await get('accounts').catch(() => ({ accounts: [] }));
    const account = accounts.find((a) => a.jid);
    own = (account?.jid || '').split('@')[0];
    title = clean(account?.name || account?.id);
    if (own) break;
    await new Promise((next) => setTimeout(next, 2000));
  }
  const all = await list('phones');
  people = Array.isArray(all) ? all.filter((p) => p.name) : [];
  who = people.find((p) => p.number !== own)?.number || own;
  draw();
  for (;;) { await look().catch(() => {}); await new Promise((next) => setTimeout(next, document.hidden ? 5000 : 700)); }
}
/** The simulator answers lists as they are. */
const list = async (path) => (await fetch(base + path, { headers: { 'X-Api-Key': state.key } })).json();

async function look() {
  const now = await list(`phones/${who}/messages`);
  const text = JSON.stringify(now);
  if (text === seen) return;
  seen = text;
  inbox = now;
  if (readAll && who !== own && now.received.some((m) => !m.read && !m.fromMe)) does('read', { chat: own });
  thread();
}

const talk = h('div', { class: 'talk', tabindex: '0' }), messages = h('ul', {}), input = h('textarea', { rows: 1, 'aria-label': words.text, placeholder: words.text });
put(talk, messages);
/** What changes another message, and is none itself. */
const CHANGES = ['reaction', 'edit', 'delete', 'vote', 'pin', 'keep'];
const files = new Map();
/** A picture that the phone has. */
function picture(id) {
  const image = h('img', { alt: words.image });
  if (!files.has(id)) files.set(id, fetch(`${base}phones/${who}/media/${id}`, { headers: { 'X-Api-Key': state.key } }).then((answer) => answer.blob()).then((file) => URL.createObjectURL(file)));
  files.get(id).then((url) => { image.src = url; talk.scrollTop = talk.scrollHeight; }, () => {});
  return h('div', { class: 'pic' }, image);
}
const mine = (m) => m.chat === undefined || m.fromMe;
function thread() {
  // The chat with the account; what is said in groups shows at the page.
  const everything = [...inbox.received, ...inbox.sent], of = (field, id) => everything.filter((m) => m[field] === id);
  const shown = (m) => !CHANGES.includes(m.type) && !(m.chat || m.to).endsWith('@g.us');
  fill(messages, everything.filter(shown).sort((a, b) => a.timestamp - b.timestamp).map((m) => {
    const out = mine(m), tick = (m.receipts || []).some((r) => r.type === 'read' || r.type === 'played') ? '✓✓' : m.acked ? '✓' : '', id = m.messageId;
    if (of('deleteOf', id).length) return h('li', { class: `msg ${out ? 'own' : ''}` }, h('span', { class: 'gone' }, words.deleted));
    const reactions = [...new Map(of('reactionTo', id).map((r) => [r.from || who, r.text])).values()].filter(Boolean), votes = of('voteIn', id);
    const chosen = new Map(votes.map((v) => [v.from || who, v.options || []])), poll = m.poll && h('div', { class: 'poll' }, m.poll.options.map((o) => { const n = [...chosen.values()].filter((all) => all.includes(o)).length; return h('button', { type: 'button', class: 'choice', onclick: () => does('messages', { to: own, vote: { messageId: id, options: [o] } }) }, h('span', { class: 'tickbox' }), h('span', { class: 'grow' }, name(o)), n || ''); }));
    return h('li', { class: `msg ${out ? 'own' : ''} ${reactions.length ? 'talked' : ''}` },
      m.type === 'image' && m.media && picture(id), h('span', { class: 'say', dir: 'auto' }, m.editedText || m.text || (m.type === 'image' ? '' : m.media?.fileName || words[m.type] || m.type)),
      m.media && m.type !== 'image' && h('span', { class: 'small muted' }, ` ${size(m.media.size || 0)}`), poll,
      h('span', { class: 'meta' }, clock(m.timestamp * 1000), out && ` ${tick}`), !out && h('button', { type: 'button', class: 'small like', 'aria-label': words.react, onclick: () => does('messages', { to: own, react: { messageId: id, emoji: '👍' } }) }, '👍'),
      reactions.length > 0 && h('div', { class: 'marks' }, h('span', { class: 'mark' }, reactions.join(' '))));
  }));
  talk.scrollTop = talk.scrollHeight;
}

input.addEventListener('input', () => { if (Date.now() - typing > 3000) { typing = Date.now(); does('typing', { to: own, state: 'composing' }); } });
input.addEventListener('keydown', (event) => { if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); send(); } });
async function send() {
  const text = input.value.trim();
  if (!text) return;
  input.value = '';
  await does('messages', { to: own, text });
  look();
}

/** A picture of a greenhouse, so that there is one. */
function greenhouse() {
  const paper = h('canvas', {}), at = paper.getContext('2d');
  [paper.width, paper.height] = [640, 400];
  const sky = at.createLinearGradient(0, 0, 0, 260);
  sky.addColorStop(0, '#f4cf94');
  sky.addColorStop(1, '#f8e6c8');
  const shape = (colour, draw) => { at.fillStyle = colour; at.beginPath(); draw(); at.fill(); };
  shape(sky, () => at.rect(0, 0, 640, 400));
  shape('#fdecc4', () => at.arc(470 + Math.random() * 60, 90, 46, 0, 7));
  shape('#8fa46c', () => at.ellipse(320, 400, 520, 190, 0, 0, 7));
  shape('#6b8b4b', () => at.ellipse(200, 460, 560, 190, 0, 0, 7));
  shape('#eaf2ee', () => { at.moveTo(150, 320); at.lineTo(150, 210); at.lineTo(220, 150); at.lineTo(290, 210); at.lineTo(290, 320); });
  return paper.toDataURL('image/jpeg', 0.8).split(',')[1];
}
/** Two seconds of a tone as WAV. */
function tone() {
  const rate = 8000, bytes = new Uint8Array(44 + rate * 2), view = new DataView(bytes.buffer), text = (at, s) => [...s].forEach((c, n) => { bytes[at + n] = c.charCodeAt(0); });
  text(0, 'RIFF'); text(8, 'WAVEfmt '); text(36, 'data');
  view.setUint32(4, bytes.length - 8, true); view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, rate, true); view.setUint16(32, 1, true); view.setUint16(34, 8, true); view.setUint32(40, rate * 2, true);
  for (let n = 0; n < rate * 2; n++) bytes[44 + n] = 128 + 60 * Math.sin(n / rate * 2764) * (n % 4000 < 3000);
  let out = '';
  for (const b of bytes) out += String.fromCharCode(b);
  return btoa(out);
}

async function scan() {
  const { accounts } = await get('accounts'), waits = accounts.find((a) => a.hasQR);
  if (!waits) return say(hands.noCode, true);
  const { qr } = await get(`accounts/${waits.id}/status`);
  const answer = await fetch(`${base}mock-phone/scan-qr?number=${own}`, { method: 'POST', headers: { 'X-Api-Key': state.key }, body: qr });
  if (!answer.ok) say((await answer.json()).error || hands.noCode, true);
}

function draw() {
  const person = people.find((p) => p.number === who) || {}, isOwn = who === own;
  const tabs = [...people.filter((p) => p.number !== own).slice(0, 2).map((p) => [p.number, clean(p.name)]), [own, hands.own]];
  fill(root, status, h('h1', {}, words.phone), h('div', { class: 'seg' }, choice(tabs, who, (to) => { who = to; seen = ''; fill(messages); draw(); look(); }, '')),
    h('div', { class: 'device' }, h('header', { class: 'top' }, face(own, isOwn ? person.name : title), h('div', { class: 'grow' }, h('b', {}, name(isOwn ? person.name : title)), h('p', { class: 'small muted' }, number(`${own}@s.whatsapp.net`)))),
      isOwn ? h('div', { class: 'ownview' }, h('h2', {}, hands.devices), h('p', { class: 'muted' }, hands.linked)) : [talk, h('div', { class: 'compose' }, h('div', { class: 'bar' }, h('div', { class: 'grow' }, input), button('➤', send, 'main', { 'aria-label': words.send })))]),
    h('div', { class: 'hands' }, isOwn
      ? [button(hands.scan, scan), button(hands.unlink, () => does('unlink', {})), button(hands.away, () => does('offline')), button(hands.back, () => does('online'))]
      : [button(hands.picture, () => does('messages', { to: own, image: { base64: greenhouse(), mimetype: 'image/jpeg', caption: hands.caption } })), button(hands.voice, () => does('messages', { to: own, audio: { base64: tone(), mimetype: 'audio/wav', ptt: true, seconds: 2 } })),
        button(hands.poll, () => does('messages', { to: own, poll: { name: hands.question, options: [words.yes, words.no] } })), button(hands.group, () => call('POST', `${base}groups`, { subject: hands.club, members: [who, own] }).then((made) => does('messages', { to: made.jid, text: hands.hello }))),
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: readAll, onchange: (e) => { readAll = e.target.checked; store.set('wildcat.phone.read', readAll ? '' : 'no'); seen = ''; } }), hands.read)]));
  thread();
}
start();
