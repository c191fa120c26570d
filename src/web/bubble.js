// One message as it stands in a chat.
import { words } from './words.js';
import { button, clean, fill, h, icon, iconButton, name, t } from './dom.js';
import { FILM, PICTURE, SOUND, at, enc, file, get } from './api.js';
import { clock, hue, length, line, senderName, size } from './format.js';

const TICKS = { pending: 'clock', sending: 'clock', sent: 'check', delivered: 'checks', read: 'checks read', played: 'checks read', failed: 'alert' };
const STATES = { pending: 'sPending', sending: 'sSending', sent: 'sSent', delivered: 'sDelivered', read: 'sRead', played: 'sPlayed', failed: 'sFailed' };
/** Files up to this size are fetched when they come near. */
const BY_ITSELF = 1e6;

/** Text with WhatsApp's marks and links that a person can read before following them. */
export function prose(text) {
  const marks = /(```[^`]+```|`[^`\n]+`|https?:\/\/[^\s<>"']+|(?<![\p{L}\p{N}*])\*[^*\n]+\*(?![\p{L}\p{N}])|(?<![\p{L}\p{N}_])_[^_\n]+_(?![\p{L}\p{N}])|(?<![\p{L}\p{N}~])~[^~\n]+~(?![\p{L}\p{N}]))/u;
  return String(text).split(marks).map((part, n) => {
    if (n % 2 === 0) return part;
    if (part.startsWith('http')) return link(part);
    if (part.startsWith('```')) return h('code', {}, part.slice(3, -3));
    return h({ '`': 'code', '*': 'b', _: 'em', '~': 's' }[part[0]], {}, part.slice(1, -1));
  });
}

/** With its host in ASCII; what is no address stays text. */
function link(text) {
  try {
    const url = new URL(text);
    const shown = [...url.host].every((c) => c < '\x7f') && text.includes(url.host) ? text : url.href;
    return h('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, shown);
  } catch { return text; }
}

const mediaPath = (m) => `${at(m.accountId, 'messages', m.messageId)}/media?mediaId=${enc(m.mediaId)}`;

/** What a file is called, with its real extension told. */
function fileName(m) {
  const given = clean(m.mediaFileName || '') || `${words.document}`;
  const program = /\.(exe|com|bat|cmd|scr|js|vbs|msi|apk|jar|sh|ps1)$/i.test(given);
  return [h('b', { class: 'cut' }, name(given)), program && h('span', { class: 'bad' }, `, ${words.program}`)];
}

export async function save(m) {
  const { url } = await file(mediaPath(m));
  h('a', { href: url, download: clean(m.mediaFileName || m.messageId) }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Files near the view are fetched, those out of it let go.
const near = new IntersectionObserver((entries) => { for (const e of entries) e.isIntersecting ? e.target.comes?.() : e.target.goes?.(); }, { rootMargin: '600px' });

/** A place for a picture, film or sound that fills itself. */
function lazy(m, kind, shown, draw) {
  const place = h('div', {});
  let url;
  const fetchIt = async () => {
    fill(place, h('p', { class: 'muted' }, words.fetching));
    try {
      const got = await file(mediaPath(m), shown);
      url = got.url;
      if (!url) return fill(place, button(t('load', { kind: words[kind], size: words.download }), () => save(m)));
      fill(place, draw(url));
    } catch (error) {
      fill(place, h('p', { class: 'muted' }, error.status === 404 || error.status === 410 ? words.gonefile : error.message), error.status && button(words.again, fetchIt, 'plain'));
    }
  };
  const ask = () => fill(place, button(t('load', { kind: words[kind], size: size(m.mediaSize || 0) }), fetchIt));
  ask();
  if (kind !== 'video' && (m.mediaSize || 0) <= BY_ITSELF) {
    place.comes = () => { if (!url) fetchIt(); };
    place.goes = () => { if (url && !place.querySelector('[data-busy]')) { const high = place.offsetHeight; place.style.minHeight = `${high}px`; URL.revokeObjectURL(url); url = null; ask(); } };
    near.observe(place);
  }
  return place;
}

let playing;
function player(m, url) {
  const sound = new Audio(url), place = h('div', { class: 'voice' }), rates = [1, 1.5, 2];
  const time = h('span', { class: 'small muted' }, '0:00'), seek = h('input', { type: 'range', min: 0, max: 1000, value: 0, 'aria-label': words.position });
  const key = iconButton('play', words.play, () => (sound.paused ? sound.play() : sound.pause()), 'play');
  const shows = (paused) => { fill(key, icon(paused ? 'play' : 'pause')); key.setAttribute('aria-label', words[paused ? 'play' : 'pause']); paused ? place.removeAttribute('data-busy') : place.setAttribute('data-busy', ''); };
  const total = () => (Number.isFinite(sound.duration) ? sound.duration : 0);
  sound.ontimeupdate = sound.onloadedmetadata = () => { time.textContent = `${length(sound.currentTime)} / ${length(total())}`; if (total()) seek.value = sound.currentTime / total() * 1000; };
  sound.onplay = () => { if (playing && playing !== sound) playing.pause(); playing = sound; shows(false); };
  sound.onpause = sound.onended = () => shows(true);
  sound.onerror = () => fill(place, button(words.noPlay, () => save(m), 'plain'));
  seek.oninput = () => { sound.currentTime = seek.value / 1000 * total(); };
  const rate = h('button', { type: 'button', class: 'small', 'aria-label': words.speed, onclick: () => { rates.push(rates.shift()); [sound.playbackRate] = rates; rate.textContent = `${rates[0]}×`; } }, '1×');
  return fill(place, key, h('div', { class: 'grow' }, seek, h('div', { class: 'bar' }, time, h('span', { class: 'grow' }), rate)));
}

function big(url, all) {
  const before = document.activeElement, image = h('img', { src: url, alt: words.image });
  const box = h('dialog', { class: 'look', 'aria-label': words.image, onclick: () => box.close(), onclose: () => { box.remove(); before?.focus(); } }, image);
  box.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], list = all();
    if (step) image.src = list[(list.indexOf(image.src) + step + list.length) % list.length] || image.src;
  };
  document.body.append(box);
  box.showModal();
}

function content(m, does) {
  const text = m.text && m.type !== 'document' ? m.text : m.caption;
  switch (m.type) {
    case 'image': case 'sticker': return [m.mediaId && h('div', { class: 'pic' }, lazy(m, m.type, PICTURE, (url) => h('button', { type: 'button', 'aria-label': words[m.type], onclick: (e) => big(url, () => [...e.target.closest('ul').querySelectorAll('.pic img')].map((i) => i.src)) }, h('img', { src: url, alt: '' })))), said(text)];
    case 'video': return [m.mediaId && h('div', { class: 'pic' }, lazy(m, 'video', FILM, (url) => h('video', { src: url, controls: true, 'data-busy': '' }))), said(text)];
    case 'audio': case 'voice': return m.mediaId && lazy(m, m.type, SOUND, (url) => player(m, url));
    case 'document': return [h('button', { type: 'button', class: 'doc', onclick: () => save(m) }, h('span', { class: 'icon' }, icon('file')), h('span', { class: 'grow' }, fileName(m), h('br'), h('span', { class: 'second muted' }, `${clean((m.mediaMimetype || '').split('/').pop()).slice(0, 24)}, ${size(m.mediaSize || 0)}${m.pageCount ? `, ${t('pages', { n: m.pageCount })}` : ''}`))), said(m.caption)];
    case 'location': return m.location && [h('b', {}, name(m.location.name || words.location)), m.location.address && h('p', { class: 'muted' }, name(m.location.address)), h('p', {}, `${m.location.latitude}, ${m.location.longitude}`), h('a', { target: '_blank', rel: 'noopener noreferrer', href: `https://www.openstreetmap.org/?mlat=${Number(m.location.latitude)}&mlon=${Number(m.location.longitude)}&zoom=16` }, words.openMap)];
    case 'contact': return (m.contacts || []).map((c) => h('div', {}, icon('people'), h('b', {}, ' ', name(c.name)), [...String(c.vcard).matchAll(/^TEL[^:\n]*:(.+)$/gm)].slice(0, 9).map((x) => h('p', {}, name(x[1])))));
    case 'poll': return m.poll && poll(m, does);
    case 'event': return m.eventDetails && planned(m.eventDetails, does);
    case 'waiting': return h('p', { class: 'gone' }, words.waitingKind);
    case 'unavailable': return h('p', { class: 'gone' }, words.unavailable);
    case 'text': case 'system': case 'button_reply': case 'list_reply': return said(text);
    case 'invite': return [h('b', {}, name(m.invite?.name || words.invite)), said(text)];
    case 'product': return [m.mediaId && h('div', { class: 'pic' }, lazy(m, 'image', PICTURE, (url) => h('img', { src: url, alt: '' }))), h('b', {}, name(m.product?.title || words.product)), money(m.product?.price, m.product), said(text)];
    case 'order': return [h('b', {}, words.order), money(m.order?.total, m.order), said(text)];
    case 'payment': return [h('b', {}, words.payment), h('span', { class: 'muted' }, ` ${clean(m.payment?.state || '')}`), money(m.payment?.amount, m.payment), said(text)];
    case 'call': return [h('b', {}, words.call), h('span', { class: 'muted' }, ` ${words.calls[m.call?.status] || ''}`), said(text)];
    // A kind with a word in the table and no line here is that word and its text.
    default: return m.type !== 'unknown' && (words[m.type] || text) ? [h('b', {}, words[m.type] || clean(m.type).slice(0, 40)), said(text)] : [h('p', { class: 'gone' }, words.unknownKind), h('details', {}, h('summary', {}, words.showJson, icon('down')), h('pre', { class: 'small' }, JSON.stringify(m, null, 1)))];
  }
}

/** Its votes, and where one may, a vote by a click: one more option, or in a poll with one choice another. */
function poll(m, does) {
  const { name: question, options, selectable, votes = [] } = m.poll, mine = votes.find((v) => does.own(v.voter))?.options || [];
  const by = (option) => votes.filter((v) => v.options.includes(option)), most = Math.max(1, ...options.map((o) => by(o).length));
  const pick = (option) => does.vote(m, mine.includes(option) ? mine.filter((o) => o !== option) : selectable === 1 ? [option] : [...mine, option]);
  const row = (option) => {
    const n = by(option).length, chosen = mine.includes(option), bar = h('i', {}), vote = does.vote && !m.local;
    bar.style.width = `${n / most * 100}%`;
    return h('li', {}, h(vote ? 'button' : 'div', { class: 'choice', ...(vote ? { type: 'button', 'aria-pressed': String(chosen), onclick: () => pick(option) } : {}) }, h('span', { class: `tickbox ${chosen ? 'on' : ''}` }, chosen && icon('check')), h('span', { class: 'grow' }, name(option), h('span', { class: 'timer' }, bar)), h('span', {}, n || '', n ? h('span', { class: 'sr' }, ` ${words.votes}`) : null)));
  };
  return h('div', { class: 'poll' }, h('b', {}, name(question)), h('p', { class: 'small muted' }, words[selectable === 1 ? 'chooseOne' : 'chooseAny']), h('ul', {}, options.map(row)),
    votes.length > 0 && h('details', {}, h('summary', { class: 'small' }, t(does.people() ? 'votedOf' : votes.length === 1 ? 'votedOne' : 'voted', { n: votes.length, all: does.people() }), icon('down')), h('ul', { class: 'second' }, votes.slice(0, 200).map((v) => h('li', {}, name(does.nameOf(v.voter)), ': ', name(v.options.join(', ')))))));
}

/** An event: its name, when and where, and who comes. */
function planned(e, does) {
  const when = [e.start, e.end].filter(Boolean).map((ms) => new Date(ms).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })).join(' – ');
  const says = Object.entries(words.comings).map(([response, word]) => [word, (e.responses || []).filter((r) => r.response === response)]).filter(([, by]) => by.length);
  return [h('b', {}, name(e.name)), h('p', {}, when), e.cancelled && h('p', { class: 'bad' }, words.cancelled), (e.location?.name || e.location?.address) && h('p', { class: 'muted' }, name(e.location.name || e.location.address)), said(e.description), e.joinLink && h('p', {}, link(e.joinLink)), says.length > 0 && h('div', { class: 'poll' }, h('ul', {}, says.map(([word, by]) => h('li', { title: by.map((r) => does.nameOf(r.from)).join('\n') }, h('span', { class: 'grow' }, word), h('b', {}, by.length + by.reduce((sum, r) => sum + r.extraGuests, 0))))))];
}

const money = (amount, of) => amount != null && h('p', {}, clean(`${amount} ${of.currency || ''}`));

function said(text) {
  if (!text) return null;
  const emoji = text.length < 20 && /^(\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f)+$/u.test(text) && [...new Intl.Segmenter().segment(text)].length === 1;
  const long = text.split('\n').length > 20 || text.length > 1500;
  const body = h('div', { class: `say ${emoji ? 'big' : ''} ${long ? 'fold' : ''}`, dir: 'auto' }, prose(text));
  return [body, long && button(words.readOn, (e) => { body.classList.remove('fold'); e.target.remove(); }, 'plain')];
}

/**
 * `close`: by the same person shortly before; `group`: names are shown; `wait`: what an own message waits for. `does` has
 * what can be done: {own, nameOf, goTo, who, again, discard, cancel}, and where the key may write {reply, react, more, vote}.
 */
export function bubble(m, { close, group, does, wait }) {
  if (m.type === 'system') return h('li', { class: 'day', 'data-id': m.messageId }, said(m.text) || words.unknownKind);
  const own = m.fromMe, failed = own && m.status === 'failed', who = senderName(m);
  const marks = Object.entries((m.reactions || []).reduce((all, r) => { (all[r.emoji] ||= []).push(r); return all; }, {}));
  const state = own && words[STATES[m.status]];
  const label = [who, m.type === 'text' ? '' : words[m.type] || words.unknownKind, line(m), clock(m.timestamp), state].filter(Boolean).join(', ');
  const quote = m.quotedMessage;
  return h('li', { class: `msg ${own ? 'own' : ''} ${close ? 'near' : ''} ${failed ? 'failed' : ''} ${marks.length ? 'talked' : ''}`, tabindex: '-1', 'data-id': m.messageId, 'aria-label': clean(label) },
    group && !own && !close && h('div', { class: `who ${hue(m.sender)}` }, name(who)),
    m.isForwarded && h('div', { class: 'small muted' }, words.forwarded),
    m.albumId && h('div', { class: 'small muted' }, words.album),
    m.viewOnce && h('div', { class: 'small muted' }, words.viewOnce),
    m.videoNote && h('div', { class: 'small muted' }, words.videoNote),
    quote && h('button', { type: 'button', class: `quote who ${hue(quote.participant)}`, onclick: () => does.goTo(quote) }, h('b', {}, name(does.nameOf(quote.participant))), h('span', {}, quote.text ? clean(quote.text.slice(0, 300)) : words.document)),
    m.deleted ? h('span', { class: 'gone' }, words.deleted) : [content(m, does), (m.buttons || []).slice(0, 20).map((b) => h('p', { class: 'second' }, /^https?:/.test(b.url) ? h('a', { target: '_blank', rel: 'noopener noreferrer', href: b.url }, name(b.text)) : h('b', {}, name(b.text)), b.phone || b.code ? name(` ${b.phone || b.code}`) : ''))],
    m.truncated && h('p', { class: 'gone' }, words.truncated),
    h('span', { class: 'meta' }, [m.pinnedUntil > Date.now() && words.pinned, m.starred && words.starred, m.kept && words.kept, m.edited && !m.deleted && words.edited].filter(Boolean).join(', '), h('time', { datetime: new Date(m.timestamp).toISOString() }, clock(m.timestamp)), own && TICKS[m.status] && h('span', { title: state, class: 'bar' }, icon(TICKS[m.status].split(' ')[0], TICKS[m.status].split(' ')[1]), h('span', { class: 'sr' }, state))),
    wait && h('p', { class: 'small muted' }, wait, ' ', m.status === 'pending' && does.reply && button(words.cancel, () => does.cancel(m), 'plain')),
    failed && h('div', {}, h('p', { class: 'bad bar' }, icon('alert'), t('notSent', { why: clean(m.error || '') })), h('div', { class: 'bar' }, m.type === 'text' && does.reply && button(words.again, () => does.again(m)), does.reply && button(words.discard, () => does.discard(m), 'plain danger'))),
    marks.length > 0 && h('div', { class: 'marks' }, marks.map(([emoji, list]) => h('button', { type: 'button', class: 'mark', onclick: () => does.who(m, emoji, list) }, name(emoji), ` ${list.length}`))),
    !m.deleted && !m.local && does.reply && h('div', { class: 'acts' }, iconButton('reply', words.reply, () => does.reply(m)), iconButton('smile', words.react, (e) => does.react(m, e.currentTarget)), iconButton('more', words.menu, (e) => does.more(m, e.currentTarget), '', { 'aria-haspopup': 'menu' })));
}

/** The message once more from the server, after something happened to it. */
export const fresh = async (m) => (await get(`${at(m.accountId, 'messages', m.messageId)}?chatId=${enc(m.chatId)}`)).message;
