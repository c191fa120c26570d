// The other person's phone, in the sandbox: what is written here comes in at the page.
import { words } from './words.js';
import { button, choice, clean, fill, h, name, put, say, status, t } from './dom.js';
import { call, get, state, store } from './api.js';
import { clock, face, number, size } from './format.js';

const base = 'sandbox/', root = document.getElementById('phone');
let people = [], own = null, who = null, inbox = { received: [], sent: [] }, seen = '', readAll = store.get('wildcat.phone.read') !== 'no', typing = 0;

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
    own = (accounts.find((a) => a.jid)?.jid || '').split('@')[0];
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
const mine = (m) => m.chat === undefined || m.fromMe;
function thread() {
  // The chat with the account; what is said in groups shows at the page.
  const shown = (m) => !['reaction', 'edit', 'delete'].includes(m.type) && !(m.chat || m.to).endsWith('@g.us');
  const all = [...inbox.received, ...inbox.sent].filter(shown).sort((a, b) => a.timestamp - b.timestamp);
  fill(messages, all.map((m) => {
    const out = mine(m), tick = (m.receipts || []).some((r) => r.type === 'read' || r.type === 'played') ? '✓✓' : m.acked ? '✓' : '';
    return h('li', { class: `msg ${out ? 'own' : ''}` }, h('span', { class: 'say', dir: 'auto' }, m.text || words[m.type] || m.type), m.media && h('span', { class: 'small muted' }, ` ${words[m.type] || ''} ${size(m.media.size || 0)}`), m.poll && m.poll.options.map((o) => h('div', {}, name(o))),
      h('span', { class: 'meta' }, clock(m.timestamp * 1000), out && ` ${tick}`), !out && h('button', { type: 'button', class: 'small', 'aria-label': words.react, onclick: () => does('messages', { to: own, react: { messageId: m.messageId, emoji: '👍' } }) }, ' 👍'));
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
function picture() {
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
  if (!waits) return say(words.phoneNoCode, true);
  const { qr } = await get(`accounts/${waits.id}/status`);
  const answer = await fetch(`${base}mock-phone/scan-qr?number=${own}`, { method: 'POST', headers: { 'X-Api-Key': state.key }, body: qr });
  if (!answer.ok) say((await answer.json()).error || words.phoneNoCode, true);
}

function draw() {
  const person = people.find((p) => p.number === who) || {}, isOwn = who === own;
  const tabs = [...people.filter((p) => p.number !== own).slice(0, 2).map((p) => [p.number, clean(p.name)]), [own, words.phoneOwn]];
  fill(root, status, h('h1', {}, words.phone), h('div', { class: 'seg' }, choice(tabs, who, (to) => { who = to; seen = ''; fill(messages); draw(); look(); }, '')),
    h('div', { class: 'device' }, h('header', { class: 'top' }, face(own, isOwn ? person.name : words.phoneYou), h('div', { class: 'grow' }, h('b', {}, isOwn ? name(person.name) : words.phoneYou), h('p', { class: 'small muted' }, number(`${own}@s.whatsapp.net`)))),
      isOwn ? h('div', { class: 'ownview' }, h('h2', {}, words.phoneDevices), h('p', { class: 'muted' }, words.phoneLinked)) : [talk, h('div', { class: 'compose' }, h('div', { class: 'bar' }, h('div', { class: 'grow' }, input), button('➤', send, 'main', { 'aria-label': words.send })))]),
    h('div', { class: 'hands' }, isOwn
      ? [button(words.phoneScan, scan), button(words.phoneUnlink, () => does('unlink', {})), button(words.phoneOff, () => does('offline')), button(words.phoneOn, () => does('online'))]
      : [button(words.phonePicture, () => does('messages', { to: own, image: { base64: picture(), mimetype: 'image/jpeg', caption: words.phoneCaption } })), button(words.phoneVoice, () => does('messages', { to: own, audio: { base64: tone(), mimetype: 'audio/wav', ptt: true, seconds: 2 } })),
        button(words.phonePoll, () => does('messages', { to: own, poll: { name: words.phoneQuestion, options: [words.yes, words.no] } })), button(words.phoneGroup, () => call('POST', `${base}groups`, { subject: words.phoneClub, members: [who, own] }).then((made) => does('messages', { to: made.jid, text: words.phoneHello }))),
        h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: readAll, onchange: (e) => { readAll = e.target.checked; store.set('wildcat.phone.read', readAll ? '' : 'no'); seen = ''; } }), words.phoneRead)]));
  thread();
}
start();
