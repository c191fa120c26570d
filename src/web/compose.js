// Where one writes: the field, what it answers or changes, the files that go along.
import { words } from './words.js';
import { button, dialog, field, fill, h, icon, iconButton, menu, name, rich, t } from './dom.js';
import { at, call, state, store } from './api.js';
import { chatName, line, senderName, size } from './format.js';
import { refused } from './actions.js';
import { shows } from './shell.js';

const most = () => state.server.limits?.maxFile || 52_428_800;

/** `deliver(message, what, body)` shows a message and sends it; `send(what, body)` asks for a change of one. */
export function composer(id, chat, { deliver, send }) {
  const jid = chat.chatId, draft = `wildcat.draft.${id}/${jid}`;
  let reply = null, edited = null, files = [];
  const to = t('messageTo', { name: chatName(chat) });
  const input = h('textarea', { rows: 1, 'aria-label': to, placeholder: to, dir: 'auto', maxlength: 65536, enterkeyhint: 'send' });
  input.value = store.get(draft) || '';
  const picker = h('input', { type: 'file', multiple: true, hidden: true, onchange: () => { add(picker.files); picker.value = ''; } });
  const go = iconButton('send', words.send, () => submit(), 'main'), over = h('div', {}), tray = h('ul', { class: 'tray' }), note = h('p', { class: 'second muted' });
  const clip = iconButton('clip', words.attach, () => menu(clip, [[words.files, () => picker.click()], [words.poll, () => pollBox(jid, deliver)], [words.location, () => placeBox(jid, deliver)]]), '', { 'aria-haspopup': 'menu' });
  const box = h('div', { class: 'compose' }, note, over, tray, h('div', { class: 'bar' }, clip, picker, h('div', { class: 'grow' }, input), go));

  /** Answers or changes a message, or with `null` neither. */
  function take(m, isEdit) {
    if (edited && !(isEdit && m)) input.value = store.get(draft) || '';
    [reply, edited] = isEdit ? [null, m] : [m, null];
    if (edited) input.value = m.text || m.caption || '';
    const about = reply || edited;
    fill(over, about && h('div', { class: 'strip' }, h('div', { class: 'quote grow' }, h('b', {}, edited ? words.editText : t('replyTo', { name: senderName(about) })), h('span', {}, line(about))), iconButton('x', words.cancel, () => take(null))));
    typed();
    input.focus();
  }
  function typed() {
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight + 2, 152)}px`;
    go.disabled = !input.value.trim() && !files.length;
    shows({ method: 'POST', path: `${at(id)}/message/${edited ? 'edit' : reply ? 'reply' : 'send'}`, body: edited ? { chatId: jid, messageId: edited.messageId, message: input.value } : { to: jid, message: input.value, ...(reply ? { quotedMessageId: reply.messageId } : {}) } });
  }
  input.addEventListener('input', () => { if (!edited) store.set(draft, input.value); typed(); });
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.isComposing && event.shiftKey === matchMedia('(pointer: coarse)').matches) { event.preventDefault(); submit(); }
    if (event.key === 'Escape' && (reply || edited)) { event.stopPropagation(); take(null); }
  });
  input.addEventListener('paste', (event) => { if (event.clipboardData.files.length) { event.preventDefault(); add(event.clipboardData.files); } });

  function add(more) {
    for (const file of more) files.push({ file, caption: '', ptt: false, shown: /^image\/(jpeg|png|webp|gif)$/.test(file.type) && URL.createObjectURL(file) });
    drawTray();
    input.focus();
  }
  function leave(f) { if (f.shown) URL.revokeObjectURL(f.shown); files = files.filter((x) => x !== f); }
  function drawTray() {
    fill(tray, files.map((f) => {
      const large = f.file.size > most();
      return h('li', {}, f.shown ? h('img', { src: f.shown, alt: '' }) : icon('file'), h('span', { class: 'cut' }, name(f.file.name)), h('span', { class: large ? 'bad' : 'muted' }, large ? rich('tooLarge', { size: size(f.file.size), most: size(most()) }) : size(f.file.size)),
        f.file.type.startsWith('audio/') ? h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: f.ptt, onchange: (e) => { f.ptt = e.target.checked; } }), words.asVoice) : h('input', { value: f.caption, placeholder: words.caption, 'aria-label': words.caption, oninput: (e) => { f.caption = e.target.value; } }),
        iconButton('x', words.dropFile, () => { leave(f); drawTray(); }));
    }));
    typed();
  }

  function submit() {
    const said = input.value.trim(), quoted = reply, changed = edited, sent = files;
    if (sent.some((f) => f.file.size > most())) return;
    if (changed) {
      take(null);
      if (said && said !== (changed.text || changed.caption)) send('edit', { chatId: jid, messageId: changed.messageId, message: said }).catch(refused);
      return;
    }
    input.value = '';
    store.set(draft, '');
    sent.forEach(leave);
    drawTray();
    take(null);
    for (const f of sent) attach(f);
    if (said) text(said, quoted);
  }
  const text = (said, quoted) => deliver({ type: 'text', text: said, quotedMessage: quoted ? { messageId: quoted.messageId, participant: quoted.sender || quoted.participant, text: quoted.text } : null }, quoted ? 'reply' : 'send', { to: jid, message: said, queue: true, ...(quoted ? { quotedMessageId: quoted.messageId } : {}) });
  function attach({ file, caption, ptt }) {
    const kind = /^image\/(jpeg|png|webp)$/.test(file.type) ? 'image' : file.type.startsWith('video/') ? 'video' : file.type.startsWith('audio/') ? 'audio' : 'document';
    const form = new FormData();
    for (const [key, value] of [['to', jid], ['caption', caption], ['ptt', ptt && 'true'], ['queue', 'true'], [kind, file]]) if (value) form.append(key, value);
    deliver({ type: ptt ? 'voice' : kind, text: caption, caption, mediaFileName: file.name, mediaSize: file.size, mediaMimetype: file.type }, `send/${kind}`, form);
  }
  typed();
  return { box, input, note, add, take, text };
}

/** A dialog with fields that sends what `body()` makes of them. */
function form(title, fields, submit) {
  const box = dialog(title, h('form', { onsubmit: (e) => { e.preventDefault(); if (submit() !== false) box.close(); } }, fields, h('div', { class: 'bar' }, button(words.cancel, () => box.close()), h('button', { class: 'btn main' }, words.send))));
  box.querySelector('input, textarea').focus();
}

function pollBox(jid, deliver) {
  const question = field(words.question, { maxlength: 255 }), options = field(words.optionsField, { rows: 4 }, 'textarea'), many = h('input', { type: 'checkbox' });
  form(words.poll, [question.box, options.box, h('label', { class: 'check' }, many, words.chooseAny)], () => {
    const all = options.input.value.split('\n').map((one) => one.trim()).filter(Boolean);
    if (!question.input.value.trim()) return question.says(words.question), false;
    if (all.length < 2 || all.length > 12 || new Set(all).size < all.length || all.some((one) => one.length > 100)) return options.says(words.optionsWrong), false;
    deliver({ type: 'poll', text: question.input.value, poll: { name: question.input.value, options: all, selectable: many.checked ? 0 : 1, votes: [] } }, 'send/poll', { to: jid, question: question.input.value.trim(), options: all, multiple: many.checked, queue: true });
  });
}

function placeBox(jid, deliver) {
  const place = field(words.coordinates, { placeholder: '52.5163, 13.3777', inputmode: 'text' }), title = field(words.placeName, { maxlength: 200 });
  form(words.location, [place.box, title.box], () => {
    const found = place.input.value.match(/^\s*(-?\d+(?:\.\d+)?)\s*[,; ]\s*(-?\d+(?:\.\d+)?)\s*$/), [latitude, longitude] = found ? found.slice(1).map(Number) : [NaN, NaN];
    if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180)) return place.says(words.coordinatesWrong), false;
    const where = { latitude, longitude, ...(title.input.value.trim() ? { name: title.input.value.trim() } : {}) };
    deliver({ type: 'location', text: '', location: where }, 'send/location', { to: jid, ...where, queue: true });
  });
}
