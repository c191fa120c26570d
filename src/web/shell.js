// "The same from a shell": each request as a curl line.
import { words } from './words.js';
import { button, copy, fill, h, icon, iconButton, t } from './dom.js';
import { on, state, store } from './api.js';

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const plain = (text) => (/^[\w@%+=:,./?&~-]+$/.test(text) && !/[?&]/.test(text) ? text : quoted(text));

/** A request in POSIX shell, the key always as $KEY. */
export function curl({ method, path, body }) {
  const base = location.href.split('#')[0].replace(/[^/]*$/, '');
  const form = body instanceof FormData, parts = [];
  if (method !== 'GET' && !(method === 'POST' && body)) parts.push(`-X ${method}`);
  if (state.key) parts.push('-H "X-Api-Key: $KEY"');
  if (form) for (const [name, value] of body) parts.push(value instanceof File ? `-F ${name}=@${quoted(value.name)}` : `--form-string ${plain(`${name}=${value}`)}`);
  else if (body) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  const lines = [`curl ${plain(base + path)}`, ...parts];
  return lines.join(lines.join(' ').length < 90 ? ' ' : ' \\\n  ');
}

let main = null, box, isOpen = store.get('wildcat.shell') !== 'closed', last = false;
/** The request of the view's main action, or none. */
export function shows(request) { main = request; last = false; draw(); }

export function drawer() {
  box = h('section', { class: 'drawer', role: 'complementary', 'aria-label': words.shell });
  draw();
  return box;
}

export function toggle() {
  if (innerWidth < 720) box.classList.toggle('sheet');
  else { isOpen = !isOpen; store.set('wildcat.shell', isOpen ? '' : 'closed'); }
  draw();
}

on('asked', () => { last = true; draw(); });

function draw() {
  if (!box) return;
  const asked = last && state.last[0], request = asked || main, sheet = innerWidth < 720, open = isOpen || sheet;
  const line = request ? curl(request) : '';
  fill(box,
    h('div', { class: 'bar' }, icon('shell'), h('h2', {}, asked ? words.lastRequest : words.shell),
      h('span', { class: `second cut grow ${asked ? (asked.status < 300 ? 'ok' : 'bad') : 'muted'}` }, asked ? t('statusIn', asked) : state.key ? words.keyIs : ''),
      request && open && button([icon('copy'), words.copy], () => copy(line), 'plain'),
      iconButton(open && !sheet ? 'down' : sheet ? 'x' : 'shell', words.shell, toggle, '', { 'aria-expanded': String(open) })),
    open && h('pre', {}, request ? line : words.noShell),
    open && asked && h('details', {}, h('summary', { class: 'small' }, words.theAnswer, icon('down')), h('pre', {}, JSON.stringify(asked.json, null, 1).slice(0, 4096))),
    open && state.last.length > 1 && asked && h('details', {}, h('summary', { class: 'small' }, words.earlier, icon('down')), state.last.slice(1).map((one) => h('pre', {}, curl(one)))));
}
