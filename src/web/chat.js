// A chat: its messages, and what is written there.
import { words } from './words.js';
import { arrange, button, clean, copy, dialog, fill, h, icon, iconButton, name, put, say, t } from './dom.js';
import { at, call, enc, get, on, once, state } from './api.js';
import { accountName, chatName, clock, day, face, isGroup, line, number, senderName } from './format.js';
import { bubble, fresh } from './bubble.js';
import { chatMenu, messageMenu, reactBox, refused } from './actions.js';
import { composer } from './compose.js';
import { findBox } from './search.js';
import { toggle } from './shell.js';

const PAGE = 50, MOST = 300, TYPING = 25_000;

/**
 * `chat` is a summary of the list, or {chatId} of one that is not there yet. `list`: {look, read, changed, gone} of the
 * list beside it.
 */
export function chatView(account, chat, wanted, beside) {
  const id = account.id, jid = chat.chatId, group = isGroup(jid), base = at(id, 'chats', jid), ends = [], may = !state.server.key?.readOnly;
  let list = [], local = [], next, atStart = false, atEnd = true, loading = false, turn = 0, cut = false, unread = chat.unreadCount || 0, fresh0 = 0, outbox = null;
  const messages = h('ul', { 'aria-label': chatName(chat) }), talk = h('div', { class: 'talk', tabindex: '-1' }, messages);
  const jump = button('', () => bottom(true), 'jump', { hidden: true });
  put(talk, jump);

  // Messages
  const time = (m) => m.timestamp;
  const all = () => [...list, ...local].sort((a, b) => time(a) - time(b));
  const low = () => talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
  const mine = (e) => e.accountId === id && (e.chatId === jid || e.chatLid && e.chatLid === jid);
  const find = (mid) => [...messages.children].find((node) => node.dataset.id === mid);
  const change = (mid, job) => { const n = list.findIndex((x) => x.messageId === mid); if (n >= 0) list[n] = job(list[n]); };

  // As long as the end was in view, what grows or shrinks leaves it there.
  let stick = true;
  const sized = new ResizeObserver(() => { if (stick && atEnd) talk.scrollTop = talk.scrollHeight; tell(); });
  sized.observe(talk);
  sized.observe(messages);
  ends.push(() => sized.disconnect());

  // A message that is as it was keeps its element, with what was loaded into it.
  let drawn = new Map();
  function draw() {
    const rows = [], now = new Map(), shown = all(), foreign = shown.filter((m) => !m.fromMe && m.type !== 'system').length;
    let before, left = unread, n = 0, late = false;
    for (const m of shown) {
      const other = !before || day(time(before)) !== day(time(m));
      if (other) rows.push(h('li', { class: 'day' }, day(time(m))));
      if (!m.fromMe && m.type !== 'system' && left && foreign - n++ === left) { rows.push(h('li', { class: 'new' }, t('unreadN', { n: left }))); before = null; left = 0; }
      const close = !!(!other && before && before.sender === m.sender && before.fromMe === m.fromMe && time(m) - time(before) < 3e5);
      const wait = m.fromMe && (m.status === 'pending' || m.status === 'sending') && waits(m);
      late ||= m.fromMe && (m.status === 'pending' || m.status === 'sending');
      const key = m.local ? m : m.messageId, was = drawn.get(key);
      const same = was && was.m === m && was.close === close && was.wait === wait ? was : { m, close, wait, node: bubble(m, { group, does, close, wait }) };
      now.set(key, same);
      rows.push(same.node);
      before = m;
    }
    drawn = now;
    arrange(messages, rows);
    const stop = messages.querySelector('.msg[tabindex="0"]'), last = messages.querySelector('.msg:last-of-type');
    if (stop && stop !== last) stop.tabIndex = -1;
    if (last) last.tabIndex = 0;
    clearTimeout(again0);
    // What waits for longer than 2 s says for what.
    if (late) again0 = setTimeout(() => { seeOutbox(); redraw(); }, outbox ? 10_000 : 2100);
    else outbox = null;
  }
  let again0;
  ends.push(() => clearTimeout(again0));
  /** Draws, and keeps the end in view, or else what is in view where it is. */
  function redraw() {
    const end = stick && atEnd, focused = document.activeElement?.closest?.('.msg')?.dataset.id, top = talk.getBoundingClientRect().top;
    const seen = !end && [...messages.children].find((node) => node.dataset.id && node.getBoundingClientRect().bottom > top), was = seen && seen.getBoundingClientRect().top;
    draw();
    const now = seen && find(seen.dataset.id);
    if (end) talk.scrollTop = talk.scrollHeight;
    else if (now) talk.scrollTop += now.getBoundingClientRect().top - was;
    if (focused && !messages.contains(document.activeElement)) find(focused)?.focus({ preventScroll: true });
  }

  /** For what an own message waits; nothing in its first 2 s. */
  function waits(m) {
    if (Date.now() - time(m) < 2000) return '';
    if (m.status === 'sending') return words.sSending;
    const entry = outbox?.messages.find((x) => x.messageId === m.messageId), now = state.accounts.get(id) || account;
    if (entry?.sendAt && Date.parse(entry.sendAt) > Date.now()) return t('waitsUntil', { time: clock(entry.sendAt) });
    if (now.status !== 'connected') return words.sPending;
    return outbox?.newContactsPausedUntil ? t('waitsNew', { time: clock(outbox.newContactsPausedUntil) }) : words.waitsTurn;
  }
  const seeOutbox = () => get(`${at(id, 'outbox')}?limit=100`).then((found) => { outbox = found; redraw(); }, () => {});

  const page = (query) => get(`${base}/messages?limit=${PAGE}${query}`).catch((e) => { if (e.status === 404) return { messages: [], pagination: {} }; throw e; });
  const fresh1 = (found) => { const here = new Set(list.map((m) => m.messageId)); return found.reverse().filter((m) => !here.has(m.messageId)); };
  async function older() {
    if (loading || atStart) return;
    loading = true;
    const first = !list.length, mine = turn;
    try {
      let more;
      do {
        const found = await page(next ? `&cursor=${enc(next)}` : first ? '' : `&before=${time(list[0]) + 1}`);
        if (mine !== turn) return;
        next = found.pagination.next;
        atStart = !next;
        more = fresh1(found.messages);
      } while (!more.length && next);
      list = [...more, ...list];
      if (list.length > MOST) { list.length = MOST; atEnd = false; }
      redraw();
      if (first) talk.scrollTop = talk.scrollHeight;
      if (!chat.name && list.at(-1)?.chatName) { chat = { ...chat, name: list.at(-1).chatName }; named(); }
      tell();
    } finally { if (mine === turn) loading = false; }
  }
  /**
   * The API lists the newest first: what follows the last message here is in a stretch of time that is made longer until
   * there is some, and shorter until it fits a page. Of very many within one second the oldest are taken.
   */
  async function newer() {
    if (loading || atEnd || !list.length) return;
    loading = true;
    const last = time(list.at(-1)), mine = turn, here = new Set(list.map((m) => m.messageId)), isNew = (m) => !here.has(m.messageId);
    try {
      let none = 0, wide = Math.max(60_000, last - time(list[0]));
      for (let n = 0; n < 60; n++) {
        const stretch = `&after=${cut ? last - 1 : last}&before=${last + wide}`, past = last + wide > Date.now();
        let found = await page(stretch), got = found.messages.filter(isNew), left = false;
        if (found.pagination.hasMore && wide - none > 1000) { wide = none + Math.ceil((wide - none) / 3); continue; }
        for (let pages = 0; found.pagination.next && pages < 40; pages++) {
          found = await page(`${stretch}&cursor=${enc(found.pagination.next)}`);
          got = [...got, ...found.messages.filter(isNew)];
          left ||= got.length > 2 * PAGE;
          got = got.slice(-2 * PAGE);
        }
        if (mine !== turn) return;
        const more = got.reverse();
        if (!more.length && !past) { none = wide; wide *= 4; continue; }
        list.push(...more);
        atEnd = past && !left;
        cut = left;
        if (list.length > MOST) { list.splice(0, list.length - MOST); next = undefined; atStart = false; }
        break;
      }
      redraw();
      tell();
    } finally { if (mine === turn) loading = false; }
  }
  /** Begins anew; what is being read for the list of before is dropped. */
  function anew(messages = [], cursor) { turn++; loading = false; cut = false; list = messages; next = cursor; atStart = messages.length > 0 && !cursor; atEnd = !messages.length; }
  async function bottom(click) {
    if (!atEnd) { anew(); await older(); }
    fresh0 = 0;
    stick = true;
    talk.scrollTop = talk.scrollHeight;
    tell();
    if (click) messages.lastElementChild?.focus({ preventScroll: true });
  }
  function tell() { jump.hidden = low() && atEnd; fill(jump, '↓ ', fresh0 ? t('newN', { n: fresh0 }) : words.latest); }
  talk.addEventListener('scroll', () => {
    stick = low();
    if (talk.scrollTop < 400) older().catch(() => {});
    if (talk.scrollHeight - talk.scrollTop - talk.clientHeight < 400) newer().catch(() => {});
    if (low() && atEnd) fresh0 = 0;
    tell();
  }, { passive: true });

  /** Shows a message, with what stands around it in the chat. */
  async function goTo(mid) {
    if (!find(mid)) {
      const m = await fresh({ accountId: id, chatId: jid, messageId: mid }).catch(() => null);
      if (!m) return say(words.lostQuote, true);
      const found = await page(`&before=${time(m) + 1}`).catch(() => null);
      if (!found) return;
      anew(found.messages.reverse(), found.pagination.next);
      stick = false;
      draw();
      for (let n = 0; n < 6 && !find(mid) && !atStart; n++) await older().catch(() => {});
      await newer().catch(() => {});
    }
    const node = find(mid);
    if (!node) return say(words.lostQuote, true);
    stick = false;
    node.scrollIntoView({ block: 'center' });
    node.focus({ preventScroll: true });
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 1500);
  }

  function came(m) {
    if (!mine(m)) return;
    const n = list.findIndex((x) => x.messageId === m.messageId && x.fromMe === m.fromMe);
    if (m.fromMe) local = local.filter((l) => l.messageId !== m.messageId && !(l.status === 'sending' && l.text === (m.text || '') && l.type === m.type));
    else types('');
    if (n >= 0) list[n] = m;
    else if (atEnd) { list.push(m); if (list.length > MOST + PAGE) { list.splice(0, PAGE); next = undefined; atStart = false; } }
    const end = stick && atEnd;
    redraw();
    if (!m.fromMe && n < 0) { if (!end) fresh0++; say(`${senderName(m)}: ${line(m)}`); }
    tell();
  }
  async function again(e) {
    if (!mine(e)) return;
    const here = list.find((x) => x.messageId === e.messageId);
    if (!here) return;
    const m = e.forMe ? null : await fresh(here).catch(() => here);
    if (m) change(e.messageId, () => m);
    else list = list.filter((x) => x.messageId !== e.messageId);
    redraw();
  }
  function moved(e) {
    if (!mine(e) || ![...list, ...local].some((x) => x.messageId === e.messageId)) return;
    const to = { status: e.status, ...(e.error ? { error: e.error } : {}) };
    for (const l of local) if (l.messageId === e.messageId) { Object.assign(l, to); drawn.delete(l); }
    change(e.messageId, (m) => ({ ...m, ...to }));
    if (e.status === 'failed') say(t('notSent', { why: clean(e.error) }), false, true);
    redraw();
  }
  // A group: how many it has, who they are, and whether one may write there.
  let club = null;
  const learn = () => group && get(at(id, 'groups', jid)).then((found) => {
    club = found.group;
    for (const m of list) if (m.type === 'poll') drawn.delete(m.messageId);
    named();
    standing();
    redraw();
  }, () => {});
  const memberName = (m) => clean(m.name || '') || does.nameOf(m.jid);
  const membersBox = () => {
    const box = dialog(words.members, club.description && h('p', { class: 'second' }, name(club.description.slice(0, 2000))), h('ul', { class: 'pick' }, (club.members || []).map((m) => h('li', {}, h(own(m.jid) ? 'div' : 'a', { class: 'bar person', ...(own(m.jid) ? {} : { href: `#/chats/${id}/${enc(m.jid)}`, onclick: () => box.close() }) }, face(m.jid, memberName(m)), h('span', { class: 'grow cut' }, name(memberName(m))), m.role !== 'member' && h('span', { class: 'small muted' }, words[m.role]))))), h('div', { class: 'bar' }, button(words.close, () => box.close())));
  };
  let typing = '', typed;
  /** Says that the other person types or records, for a while. */
  function types(what) {
    clearTimeout(typed);
    if (typing !== what) { typing = what; named(); }
    if (what) typed = setTimeout(types, TYPING, '');
  }
  ends.push(() => clearTimeout(typed), on('message', came), on('message.sent', came), on('message.edited', came), on('message.marked', came), on('call', came), on('message.undecryptable', came), on('message.reaction', again), on('poll.vote', again), on('event.response', again), on('message.deleted', again), on('message.status', moved), on('reset', () => { anew(); older().catch(() => {}); }), on('accounts', () => standing()), ...['group.members', 'group.updated', 'group.left', 'group.joined'].map((kind) => on(kind, (e) => mine(e) && learn())),
    on('chat', (e) => { if (mine(e)) { chat = { ...chat, ...e, name: e.chatName || chat.name }; if (e.removed) { list = []; redraw(); } named(); } }),
    on('typing', (e) => { if (mine(e) && !e.fromMe) types({ typing: words.typing, recording: words.recording }[e.state] || ''); }),
    // It was opened while the server was away.
    on('online', (now) => { if (now && !next && list.length < PAGE) { anew(); older().catch(() => {}); } }));

  // What can be done with a message
  const send = (what, body, headers) => call('POST', `${at(id)}/message/${what}`, body, headers);
  const own = (who) => who === account.jid || who === account.lid;
  const does = {
    own,
    people: () => club?.size,
    nameOf: (who) => (own(who) ? words.you : who === jid ? chatName(chat) : senderName(list.find((m) => m.sender === who || m.senderLid === who) || { sender: who })),
    goTo: (quote) => goTo(quote.messageId),
    who: (m, emoji, by) => {
      const box = dialog(emoji, h('ul', {}, by.map((r) => h('li', {}, name(does.nameOf(r.from))))), h('div', { class: 'bar' }, may && by.some((r) => own(r.from)) && button(words.theirReaction, () => { box.close(); react(m, ''); }), button(words.close, () => box.close())));
    },
    again: (m) => { does.discard(m); writing.text(m.text, m.quotedMessage && { ...m.quotedMessage }); },
    discard: (m) => { if (!m.local) send('delete', { chatId: jid, messageId: m.messageId, forMe: true }).catch(() => {}); list = list.filter((x) => x.messageId !== m.messageId); local = local.filter((l) => l.messageId !== m.messageId); redraw(); },
    cancel: async (m) => { try { await call('DELETE', at(id, 'outbox', m.messageId)); list = list.filter((x) => x.messageId !== m.messageId); local = local.filter((x) => x.messageId !== m.messageId); redraw(); } catch (e) { refused(e); } },
  };
  const react = (m, emoji) => send('react', { chatId: jid, messageId: m.messageId, emoji }).then(() => say(words.sent)).catch(refused);
  if (may) Object.assign(does, {
    reply: (m) => writing.take(m),
    react: (m) => reactBox((emoji) => react(m, emoji)),
    more: (m, where) => messageMenu(where, m, { send, reply: does.reply, react: does.react, edit: (one) => writing.take(one, true) }),
    vote: (m, options) => send('poll/vote', { chatId: jid, messageId: m.messageId, options, queue: true }).catch(refused),
  });

  messages.addEventListener('keydown', (event) => {
    const node = event.target.closest('.msg'), m = node && all().find((x) => x.messageId === node.dataset.id);
    if (!m || event.target !== node || event.ctrlKey || event.metaKey) return;
    const rows = [...messages.querySelectorAll('.msg')], n = rows.indexOf(node), menu = () => { if (may && !m.deleted) does.more(m, node); };
    const jobs = { ArrowUp: () => rows[n - 1]?.focus(), k: () => rows[n - 1]?.focus(), ArrowDown: () => rows[n + 1]?.focus(), j: () => rows[n + 1]?.focus(), r: () => does.reply?.(m), e: () => does.react?.(m), c: () => copy(m.text || m.caption || ''), Enter: menu, Delete: menu, ' ': () => node.querySelector('.play')?.click() };
    if (jobs[event.key]) { event.preventDefault(); event.stopPropagation(); jobs[event.key](); }
  });

  // Writing
  /** Shows it at once; the server's answer, or its event, takes its place. */
  async function deliver(m, what, body) {
    const one = { accountId: id, chatId: jid, messageId: once(), sender: account.jid, fromMe: true, timestamp: Date.now(), status: 'sending', local: true, reactions: [], ...m };
    local.push(one);
    stick = true;
    if (!atEnd) await bottom();
    redraw();
    try {
      const got = await send(what, body, { 'Idempotency-Key': once() });
      one.messageId = got.messageId;
      if (list.some((x) => x.messageId === got.messageId)) local = local.filter((l) => l !== one);
      const waiting = got.http === 202;
      one.status = waiting ? 'pending' : one.status === 'sending' ? 'sent' : one.status;
      if (!waiting) { const m2 = await fresh(one).catch(() => null); if (m2) came(m2); }
      say(words.sent);
    } catch (error) {
      one.status = 'failed';
      one.error = error.message;
      say(t('notSent', { why: error.message }), false, true);
    }
    // It is drawn anew: what it holds has changed.
    drawn.delete(one);
    redraw();
  }
  const writing = composer(id, chat, { deliver, send });

  const view = h('div', { class: 'pane' });
  view.style.position = 'relative';
  let drop;
  view.addEventListener('dragenter', (e) => { if (may && e.dataTransfer.types.includes('Files') && !drop) { drop = h('div', { class: 'drop' }, t('dropHere', { name: chatName(chat) })); view.append(drop); } });
  view.addEventListener('dragover', (e) => e.preventDefault());
  view.addEventListener('dragleave', (e) => { if (e.target === drop) { drop.remove(); drop = null; } });
  view.addEventListener('drop', (e) => { e.preventDefault(); drop?.remove(); drop = null; if (may) writing.add(e.dataTransfer.files); });

  function standing() {
    const now = state.accounts.get(id) || account, who = accountName(now), out = now.status === 'logged_out' || !now.jid;
    writing.note.textContent = out ? '' : now.status === 'connected' ? '' : t('isOff', { name: who });
    if (!may) fill(foot, h('p', { class: 'empty' }, words.readOnly));
    else if (out) fill(foot, h('div', { class: 'empty' }, t(now.jid ? 'isOut' : 'notPaired', { name: who }), h('br'), h('a', { class: 'btn', href: `#/accounts/${id}/link` }, words.linkAgain)));
    else if (club?.announcement && club.role === 'member') fill(foot, h('p', { class: 'empty' }, words.onlyAdmins));
    else if (!foot.contains(writing.box)) fill(foot, writing.box);
  }
  const foot = h('div', {});
  standing();
  const top = h('header', { class: 'top' });
  const read = () => call('POST', `${base}/read`, {}).then(() => { unread = 0; chat = { ...chat, unreadCount: 0 }; redraw(); beside.read(jid); say(words.marked, true); }).catch(refused);
  const find0 = () => findBox(id, chat, (m) => goTo(m.messageId));
  function named() {
    const title = chatName(chat), sub = group ? (club ? t('groupOf', { n: club.size }) : words.group) : chat.name ? number(jid) : chat.username ? `@${clean(chat.username)}` : '';
    const timer = words.timers.find(([seconds]) => seconds === chat.timer)?.[1];
    writing.input.placeholder = t('messageTo', { name: title });
    writing.input.setAttribute('aria-label', writing.input.placeholder);
    messages.setAttribute('aria-label', title);
    fill(top, h('a', { class: 'icon phone-only', href: `#/chats/${id}`, 'aria-label': words.back }, icon('back')), face(jid, title),
      h('div', { class: 'grow' }, h('h1', { class: 'cut', tabindex: '-1' }, name(title)), h('p', { class: `second cut ${typing ? 'ok' : 'muted'}` }, typing || [sub, chat.muted && words.muted, chat.archived && words.archived, timer && chat.timer > 0 && t('goesAfter', { time: timer }), state.accounts.size > 1 && accountName(account)].filter(Boolean).join(' · '))),
      iconButton('search', words.findIn, find0), club?.members && iconButton('people', words.members, membersBox),
      iconButton('more', words.menu, (e) => chatMenu(e.currentTarget, account, { ...chat, unreadCount: unread }, { may, read, find: find0, shell: innerWidth < 720 && toggle, changed: (now) => { chat = { ...chat, ...now }; unread = now.unreadCount ?? unread; named(); beside.changed(chat); }, gone: () => beside.gone(jid) }), '', { 'aria-haspopup': 'menu' }));
  }
  named();
  fill(view, top, talk, foot);
  // An address was opened before the list was here.
  if (!chat.name) beside.look(jid).then((found) => { if (found) { chat = found; unread = chat.unreadCount; named(); redraw(); } });
  learn();
  older().then(() => { if (wanted) goTo(wanted); tell(); }).catch(() => {});
  return { box: view, input: may && writing.input, goTo, end() { for (const end of ends) end(); } };
}
