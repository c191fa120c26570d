// A chat: its messages, and what is written there.
import { words } from './words.js';
import { button, clean, confirmBox, copy, dialog, fill, h, icon, iconButton, menu, name, put, rich, say, t } from './dom.js';
import { at, call, enc, get, on, once, state, store } from './api.js';
import { accountName, chatName, day, face, isGroup, line, number, senderName, size } from './format.js';
import { bubble, fresh, save } from './bubble.js';
import { shows, toggle } from './shell.js';

const PAGE = 50, MOST = 300, EMOJI = ['👍', '❤️', '😂', '😮', '😢', '🙏'];

/** `chat` is a summary of the list, or {chatId} of one that is not there yet. */
export function chatView(account, chat, wanted, look, onRead) {
  const id = account.id, jid = chat.chatId, group = isGroup(jid), base = at(id, 'chats', jid), ends = [];
  let list = [], local = [], next, atEnd = true, loading = false, reply = null, files = [], unread = chat.unreadCount || 0, fresh0 = 0;
  const messages = h('ul', { 'aria-label': chatName(chat) }), talk = h('div', { class: 'talk', tabindex: '-1' }, messages);
  const jump = button('', () => bottom(true), 'jump', { hidden: true });
  put(talk, jump);

  // Messages
  const time = (m) => m.timestamp;
  const all = () => [...list, ...local].sort((a, b) => time(a) - time(b));
  const low = () => talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;

  // As long as the end was in view, what grows or shrinks leaves it there.
  let stick = true;
  const sized = new ResizeObserver(() => { if (stick && atEnd) talk.scrollTop = talk.scrollHeight; tell(); });
  sized.observe(talk);
  sized.observe(messages);
  ends.push(() => sized.disconnect());

  function draw() {
    const rows = [];
    let before, left = unread;
    const shown = all(), foreign = shown.filter((m) => !m.fromMe).length;
    let n = 0;
    for (const m of shown) {
      const other = !before || day(time(before)) !== day(time(m));
      if (other) rows.push(h('li', { class: 'day' }, day(time(m))));
      if (!m.fromMe && left && foreign - n++ === left) { rows.push(h('li', { class: 'new' }, t('unreadN', { n: left }))); before = null; left = 0; }
      rows.push(bubble(m, { group, does, close: !other && before && before.sender === m.sender && before.fromMe === m.fromMe && time(m) - time(before) < 3e5 }));
      before = m;
    }
    fill(messages, rows);
    const stop = messages.querySelector('.msg:last-of-type');
    if (stop) stop.tabIndex = 0;
  }
  /** Draws, and keeps the end in view, or else what is in view where it is. */
  function redraw(old) {
    const end = stick && !old, high = talk.scrollHeight, top = talk.scrollTop, focused = document.activeElement?.dataset?.id;
    draw();
    talk.scrollTop = end ? talk.scrollHeight : old ? top + talk.scrollHeight - high : top;
    if (focused) find(focused)?.focus({ preventScroll: true });
  }
  const find = (mid) => [...messages.children].find((node) => node.dataset.id === mid);

  async function older() {
    if (loading || list.length && !next) return;
    loading = true;
    try {
      const first = !list.length;
      const found = await get(`${base}/messages?limit=${PAGE}${next ? `&cursor=${enc(next)}` : ''}`).catch((e) => { if (e.status === 404) return { messages: [], pagination: {} }; throw e; });
      const here = new Set(list.map((m) => m.messageId));
      list = [...found.messages.reverse().filter((m) => !here.has(m.messageId)), ...list];
      next = found.pagination.next;
      if (list.length > MOST) { list.length = MOST; atEnd = false; tell(); }
      redraw(!first);
      if (first) talk.scrollTop = talk.scrollHeight;
    } finally { loading = false; }
  }
  async function bottom(click) {
    if (!atEnd) { list = []; next = undefined; atEnd = true; await older(); }
    fresh0 = 0;
    stick = true;
    talk.scrollTop = talk.scrollHeight;
    tell();
    if (click) messages.lastElementChild?.focus({ preventScroll: true });
  }
  function tell() { jump.hidden = low() && atEnd; fill(jump, '↓ ', fresh0 ? t('newN', { n: fresh0 }) : words.latest); }
  talk.addEventListener('scroll', () => { stick = low(); if (talk.scrollTop < 400) older().catch(() => {}); if (low() && atEnd) fresh0 = 0; tell(); }, { passive: true });

  async function goTo(mid) {
    for (let n = 0; n < 6 && !find(mid) && next; n++) await older();
    const node = find(mid);
    if (!node) return say(words.lostQuote, true);
    node.scrollIntoView({ block: 'center' });
    node.focus({ preventScroll: true });
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 1500);
  }

  const mine = (e) => e.accountId === id && (e.chatId === jid || e.chatLid && e.chatLid === jid);
  function came(m) {
    if (!mine(m)) return;
    const n = list.findIndex((x) => x.messageId === m.messageId && x.fromMe === m.fromMe);
    if (m.fromMe) local = local.filter((l) => l.messageId !== m.messageId && !(l.status === 'sending' && l.text === (m.text || '') && l.type === m.type));
    if (n >= 0) list[n] = m;
    else if (atEnd) { list.push(m); if (list.length > MOST + PAGE) { list.splice(0, PAGE); next = undefined; } }
    const end = stick;
    redraw();
    if (!m.fromMe && n < 0) { if (!end) fresh0++; say(`${senderName(m)}: ${line(m)}`); }
    tell();
  }
  async function again(e) {
    if (!mine(e)) return;
    const n = list.findIndex((x) => x.messageId === e.messageId);
    if (n < 0) return;
    const m = await fresh(list[n]).catch(() => null);
    const now = list.findIndex((x) => x.messageId === e.messageId);
    if (m && now >= 0) { list[now] = m; redraw(); }
  }
  function moved(e) {
    if (!mine(e)) return;
    const m = [...list, ...local].find((x) => x.messageId === e.messageId);
    if (!m) return;
    m.status = e.status;
    if (e.error) m.error = e.error;
    if (e.status === 'failed') say(t('notSent', { why: clean(e.error) }), false, true);
    redraw();
  }
  ends.push(on('message', came), on('message.sent', came), on('message.edited', came), on('message.marked', came), on('message.undecryptable', came), on('message.reaction', again), on('poll.vote', again), on('message.deleted', again), on('message.status', moved), on('reset', () => { list = []; next = undefined; older().catch(() => {}); }), on('accounts', () => standing()),
    // It was opened while the server was away.
    on('online', (now) => { if (now && !next && list.length < PAGE) { list = []; older().catch(() => {}); } }));

  // What can be done with a message
  const may = !state.server.key?.readOnly;
  const does = {
    own: account.jid,
    nameOf: (who) => (who === jid ? chatName(chat) : senderName(list.find((m) => m.sender === who) || { sender: who })),
    goTo: (quote) => goTo(quote.messageId),
    who: (m, emoji, by) => {
      const own = by.some((r) => r.from === account.jid || r.from === account.lid);
      const box = dialog(emoji, h('ul', {}, by.map((r) => h('li', {}, name(r.from === account.jid ? words.you : number(r.from))))), h('div', { class: 'bar' }, own && may && button(words.theirReaction, () => { box.close(); send('react', { chatId: jid, messageId: m.messageId, emoji: '' }).catch(refused); }), button(words.close, () => box.close())));
    },
    again: (m) => { local = local.filter((l) => l !== m); text(m.text, m.quotedMessage && { ...m.quotedMessage }); },
    discard: (m) => { local = local.filter((l) => l !== m); redraw(); },
    cancel: async (m) => { try { await call('DELETE', at(id, 'outbox', m.messageId)); list = list.filter((x) => x.messageId !== m.messageId); local = local.filter((x) => x.messageId !== m.messageId); redraw(); } catch (e) { refused(e); } },
  };
  if (may) Object.assign(does, {
    reply: (m) => { reply = m; strip(); input.focus(); },
    react: (m, where) => {
      const other = h('input', { 'aria-label': words.otherEmoji, placeholder: '…', maxlength: 16 });
      const box = dialog(words.react, h('div', { class: 'emoji' }, EMOJI.map((e) => h('button', { type: 'button', onclick: () => go(e) }, e)), h('form', { onsubmit: (e) => { e.preventDefault(); if (other.value) go(other.value); } }, other)));
      const go = (emoji) => { box.close(); send('react', { chatId: jid, messageId: m.messageId, emoji }).then(() => say(words.sent)).catch(refused); };
    },
    more: (m, where) => menu(where, [
      [words.reply, () => does.reply(m)], [words.react, () => does.react(m)],
      m.text && [words.copyText, () => copy(m.text)],
      m.mediaId && [words.download, () => save(m).catch(refused)],
      m.fromMe && [words.del, () => confirmBox(words.del, words.delAsk, words.del, () => send('delete', { chatId: jid, messageId: m.messageId }).catch(refused))],
    ]),
  });
  const send = (what, body, headers) => call('POST', `${at(id)}/message/${what}`, body, headers);
  const refused = (e) => say(e.message, true, true);

  messages.addEventListener('keydown', (event) => {
    const node = event.target.closest('.msg'), m = node && all().find((x) => x.messageId === node.dataset.id);
    if (!m || event.target !== node || event.ctrlKey || event.metaKey) return;
    const rows = [...messages.querySelectorAll('.msg')], n = rows.indexOf(node);
    const jobs = { ArrowUp: () => rows[n - 1]?.focus(), k: () => rows[n - 1]?.focus(), ArrowDown: () => rows[n + 1]?.focus(), j: () => rows[n + 1]?.focus(), r: () => does.reply?.(m), e: () => does.react?.(m, node), c: () => copy(m.text || ''), Enter: () => may && does.more(m, node), Delete: () => m.fromMe && may && does.more(m, node), ' ': () => node.querySelector('.play')?.click() };
    if (jobs[event.key]) { event.preventDefault(); event.stopPropagation(); jobs[event.key](); }
  });

  // Writing
  const draft = `wildcat.draft.${id}/${jid}`;
  const input = h('textarea', { rows: 1, 'aria-label': t('messageTo', { name: chatName(chat) }), placeholder: t('messageTo', { name: chatName(chat) }), dir: 'auto', maxlength: 65536, enterkeyhint: 'send' });
  input.value = store.get(draft) || '';
  const go = iconButton('send', words.send, () => submit(), 'main'), picker = h('input', { type: 'file', multiple: true, hidden: true, onchange: () => { add(picker.files); picker.value = ''; } });
  const over = h('div', {}), tray = h('ul', { class: 'tray' }), note = h('p', { class: 'second muted' });
  const composer = h('div', { class: 'compose' }, note, over, tray, h('div', { class: 'bar' }, iconButton('clip', words.attach, () => picker.click()), picker, h('div', { class: 'grow' }, input), go));

  function strip() {
    fill(over, reply && h('div', { class: 'strip' }, h('div', { class: 'quote grow' }, h('b', {}, t('replyTo', { name: senderName(reply) })), h('span', {}, line(reply))), iconButton('x', words.cancel, () => { reply = null; strip(); input.focus(); })));
    typed();
  }
  const typed = () => {
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight + 2, 152)}px`;
    go.disabled = !input.value.trim() && !files.length;
    shows({ method: 'POST', path: `${at(id)}/message/${reply ? 'reply' : 'send'}`, body: { to: jid, message: input.value, ...(reply ? { quotedMessageId: reply.messageId } : {}) } });
  };
  input.addEventListener('input', () => { store.set(draft, input.value); typed(); });
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.isComposing && event.shiftKey === matchMedia('(pointer: coarse)').matches) { event.preventDefault(); submit(); }
    if (event.key === 'Escape' && reply) { event.stopPropagation(); reply = null; strip(); }
  });
  input.addEventListener('paste', (event) => { if (event.clipboardData.files.length) { event.preventDefault(); add(event.clipboardData.files); } });

  function add(more) {
    for (const one of more) files.push({ file: one, caption: '', ptt: false });
    drawTray();
    input.focus();
  }
  function drawTray() {
    const most = state.server.limits?.maxFile || 52428800;
    fill(tray, files.map((f) => {
      const large = f.file.size > most, picture = /^image\/(jpeg|png|webp|gif)$/.test(f.file.type) && h('img', { src: URL.createObjectURL(f.file), alt: '' });
      return h('li', {}, picture || icon('file'), h('span', { class: 'cut' }, name(f.file.name)), h('span', { class: large ? 'bad' : 'muted' }, large ? rich('tooLarge', { size: size(f.file.size), most: size(most) }) : size(f.file.size)),
        f.file.type.startsWith('audio/') ? h('label', { class: 'check' }, h('input', { type: 'checkbox', onchange: (e) => { f.ptt = e.target.checked; } }), words.asVoice) : h('input', { placeholder: words.caption, 'aria-label': words.caption, oninput: (e) => { f.caption = e.target.value; } }),
        iconButton('x', words.dropFile, () => { files = files.filter((x) => x !== f); drawTray(); }));
    }));
    typed();
  }

  async function submit() {
    const said = input.value.trim(), quoted = reply, sent = files, most = state.server.limits?.maxFile || 52428800;
    if (sent.some((f) => f.file.size > most)) return;
    input.value = '';
    store.set(draft, '');
    reply = null;
    files = [];
    strip();
    drawTray();
    for (const f of sent) attach(f);
    if (said) text(said, quoted);
  }
  /** Shows it at once; the server's answer, or its event, takes its place. */
  async function deliver(m, what, body) {
    const one = { accountId: id, chatId: jid, messageId: once(), sender: account.jid, fromMe: true, timestamp: Date.now(), status: 'sending', local: true, reactions: [], ...m };
    local.push(one);
    stick = true;
    draw();
    talk.scrollTop = talk.scrollHeight;
    try {
      const got = await send(what, body, { 'Idempotency-Key': once() });
      one.messageId = got.messageId;
      if (list.some((x) => x.messageId === got.messageId)) local = local.filter((l) => l !== one);
      one.waits = got.http === 202;
      one.status = one.waits ? 'pending' : one.status === 'sending' ? 'sent' : one.status;
      if (!one.waits) { const m2 = await fresh(one).catch(() => null); if (m2) came(m2); }
      say(words.sent);
    } catch (error) {
      one.status = 'failed';
      one.error = error.message;
      say(t('notSent', { why: error.message }), false, true);
    }
    redraw();
  }
  const text = (said, quoted) => deliver({ type: 'text', text: said, quotedMessage: quoted ? { messageId: quoted.messageId, participant: quoted.sender || quoted.participant, text: quoted.text } : null }, quoted ? 'reply' : 'send', { to: jid, message: said, queue: true, ...(quoted ? { quotedMessageId: quoted.messageId } : {}) });
  function attach({ file, caption, ptt }) {
    const kind = /^image\/(jpeg|png|webp)$/.test(file.type) ? 'image' : file.type.startsWith('video/') ? 'video' : file.type.startsWith('audio/') ? 'audio' : 'document';
    const form = new FormData();
    for (const [field, value] of [['to', jid], ['caption', caption], ['ptt', ptt && 'true'], ['queue', 'true'], [kind, file]]) if (value) form.append(field, value);
    deliver({ type: ptt ? 'voice' : kind, text: caption, caption, mediaFileName: file.name, mediaSize: file.size, mediaMimetype: file.type }, `send/${kind}`, form);
  }

  const view = h('div', { class: 'pane' });
  view.style.position = 'relative';
  let drop;
  view.addEventListener('dragenter', (e) => { if (may && e.dataTransfer.types.includes('Files') && !drop) { drop = h('div', { class: 'drop' }, t('dropHere', { name: chatName(chat) })); view.append(drop); } });
  view.addEventListener('dragover', (e) => e.preventDefault());
  view.addEventListener('dragleave', (e) => { if (e.target === drop) { drop.remove(); drop = null; } });
  view.addEventListener('drop', (e) => { e.preventDefault(); drop?.remove(); drop = null; if (may) add(e.dataTransfer.files); });

  function standing() {
    const now = state.accounts.get(id) || account, who = accountName(now), out = now.status === 'logged_out' || !now.jid;
    note.textContent = out ? '' : now.status === 'connected' ? '' : t('isOff', { name: who });
    if (!may) fill(foot, h('p', { class: 'empty' }, words.readOnly));
    else if (out) fill(foot, h('div', { class: 'empty' }, t(now.jid ? 'isOut' : 'notPaired', { name: who }), h('br'), h('a', { class: 'btn', href: `#/accounts/${id}/link` }, words.linkAgain)));
    else if (!foot.contains(composer)) fill(foot, composer);
  }
  const foot = h('div', {});
  standing();
  const top = h('header', { class: 'top' });
  function named() {
    const title = chatName(chat), sub = group ? words.group : chat.name ? number(jid) : chat.username ? `@${clean(chat.username)}` : '';
    input.placeholder = t('messageTo', { name: title });
    input.setAttribute('aria-label', input.placeholder);
    messages.setAttribute('aria-label', title);
    fill(top, h('a', { class: 'icon phone-only', href: `#/chats/${id}`, 'aria-label': words.back }, icon('back')), face(jid, title), h('div', { class: 'grow' }, h('h1', { class: 'cut', tabindex: '-1' }, name(title)), h('p', { class: 'second muted cut' }, sub, state.accounts.size > 1 && ` · ${accountName(account)}`)),
      iconButton('shell', words.shell, toggle, 'phone-only'), iconButton('more', words.menu, (e) => menu(e.currentTarget, [may && [words.markRead, () => call('POST', `${base}/read`, {}).then(() => { unread = 0; redraw(); onRead(jid); say(words.marked, true); }).catch(refused), words.tellsSenders], [words.copyText, () => copy(jid), jid]]), '', { 'aria-haspopup': 'menu' }));
  }
  named();
  fill(view, top, talk, foot);
  // An address was opened before the list was here.
  if (!chat.name) look(jid).then((found) => { if (found) { chat = found; unread = chat.unreadCount; named(); redraw(); } });
  older().then(() => { if (wanted) goTo(wanted); tell(); }).catch(() => {});
  typed();
  return { box: view, input: may && input, end() { for (const end of ends) end(); } };
}
