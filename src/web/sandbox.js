// Of the sandbox alone: the list of what to try, and the phone beside the page. `app.js` loads it where the server
// is a sandbox, and gives it what it works with.
export function start({ words, button, dialog, h, iconButton, on, state, store, body }) {
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = 'web/sandbox.css';
  document.head.append(link);
  const done = new Set((store.get('wildcat.tried') || '').split(',').filter(Boolean));
  const did = (what) => { if (!done.has(what)) { done.add(what); store.set('wildcat.tried', [...done].join()); } };
  on('message', (m) => { if (!m.fromMe) did('in'); });
  on('message.sent', () => did('out'));
  on('message.reaction', () => did('react'));
  on('asked', () => { if (state.last[0]?.path === 'webhooks') did('hook'); });
  on('account.status', (e) => { if (e.status === 'connected') did('link'); });
  const list = () => {
    const box = dialog(words.toTry, h('ul', {}, Object.entries(words.toTryList).map(([key, text]) => h('li', { class: 'check' }, done.has(key) ? '✓ ' : '○ ', text))), h('div', { class: 'bar' }, button(words.close, () => box.close())));
  };
  let frame;
  const show = () => {
    frame = h('aside', { class: 'phone-frame', role: 'region', 'aria-label': words.phone }, h('iframe', { title: words.phone }), iconButton('x', words.close, () => { frame.remove(); frame = null; store.set('wildcat.phone', 'closed'); }));
    frame.firstChild.src = 'phone.html';
    body.append(frame);
  };
  const bar = (notices) => {
    const place = notices.querySelector('.extra');
    if (place && !place.firstChild) place.append(button(words.phone, () => { if (innerWidth < 1100) location.href = 'phone.html'; else if (!frame) { store.set('wildcat.phone', ''); show(); } }, 'plain'), button(words.toTry, list, 'plain'));
  };
  on('notices', bar);
  if (store.get('wildcat.phone') !== 'closed') show();
  bar(document);
}
