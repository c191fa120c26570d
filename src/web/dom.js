// Elements from text nodes and a fixed list of attributes. Nothing on this page is made from markup.
import { words } from './words.js';

const ALLOWED = /^(class|id|for|type|name|value|role|title|tabindex|placeholder|autocomplete|dir|rows|download|rel|target|accept|inputmode|enterkeyhint|spellcheck|maxlength|min|max|step|datetime|open|list|alt|(aria|data)-[a-z]+)$/;
const FLAGS = /^(hidden|disabled|checked|multiple|required|controls|selected|autofocus)$/;

/** h('p', {class: 'x', onclick: f}, 'text', node, [nodes]): children that are strings become text. */
export function h(tag, attrs, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === undefined || value === null || value === false && !name.startsWith('aria-')) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'href') node.setAttribute('href', safe(value));
    else if (name === 'src') node.src = String(value).startsWith('blob:') ? value : '';
    else if (FLAGS.test(name)) node[name] = true;
    else if (ALLOWED.test(name)) node.setAttribute(name, value);
    else throw new Error(`attribute ${name}`);
  }
  put(node, ...children);
  return node;
}

/** An address that leads to this page, to the web, or to a file in memory; else nowhere. */
function safe(href) {
  return /^(#|https?:\/\/|blob:)/.test(href) ? href : '#';
}

export function put(node, ...children) {
  for (const child of children.flat(9)) if (child || child === 0) node.append(child);
  return node;
}

/** Makes these the children, and moves or removes only what is elsewhere: what stays keeps its focus and its files. */
export function arrange(node, children) {
  let at = node.firstChild;
  const kept = new Set(children);
  for (const child of children) {
    while (at && !kept.has(at)) { const gone = at; at = at.nextSibling; gone.remove(); }
    if (child === at) at = at.nextSibling;
    else node.insertBefore(child, at);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

export const fill = (node, ...children) => { node.replaceChildren(); return put(node, ...children); };

export function icon(name, extra) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  if (extra) svg.setAttribute('class', extra);
  svg.append(use);
  return svg;
}

/** A text of the table, filled in. */
export const t = (key, args) => words[key].replace(/\{(\w+)\}/g, (_, name) => args[name]);

/** The same with bold, code, and nodes filled in. */
export function rich(key, args = {}) {
  const text = words[key] || key;
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`|\{\w+\})/).map((part) => {
    const inner = (x) => x.split(/(\{\w+\})/).map((p) => (/^\{\w+\}$/.test(p) ? args[p.slice(1, -1)] : p));
    if (part.startsWith('**')) return h('b', {}, inner(part.slice(2, -2)));
    if (part.startsWith('`')) return h('code', {}, inner(part.slice(1, -1)));
    return inner(part);
  });
}

// Control characters and marks of direction, which make one name look like another.
const MARKS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const clean = (text) => String(text ?? '').replace(MARKS, '');

/** A name that another person chose. */
export const name = (text, cls) => h('bdi', { dir: 'auto', class: cls }, clean(text).slice(0, 300));

export const button = (label, onclick, cls = '', attrs = {}) => h('button', { type: 'button', class: `btn ${cls}`, onclick, ...attrs }, label);
export const iconButton = (symbol, label, onclick, cls = '', attrs = {}) => h('button', { type: 'button', class: `icon ${cls}`, 'aria-label': label, title: label, onclick, ...attrs }, icon(symbol));
export const dot = (kind) => h('span', { class: `dot ${kind}`, 'aria-hidden': 'true' });
export const pill = (kind, label) => h('span', { class: `pill ${kind}` }, dot(kind), label);
export const head = (title, sub, ...more) => h('header', {}, h('div', { class: 'grow' }, h('h1', { tabindex: '-1' }, title), sub && h('p', { class: 'muted' }, sub)), ...more);

let seed = 0;
/** A labelled field: {box, input, says(words)}. */
export function field(label, attrs = {}, tag = 'input') {
  const id = `f${++seed}`, error = h('p', { class: 'bad', id: `${id}e`, 'aria-live': 'polite' });
  const input = h(tag, { id, spellcheck: 'false', autocomplete: 'off', 'aria-describedby': `${id}e`, ...attrs });
  const says = (text) => { fill(error, text); input.setAttribute('aria-invalid', String(!!text)); if (text) input.focus(); };
  return { box: h('div', { class: 'field' }, h('label', { for: id }, label), input, error), input, says };
}

/** Copies without the clipboard API, which plain HTTP has not. */
export function copy(text) {
  const area = h('textarea', { class: 'sr', 'aria-hidden': 'true' });
  const before = document.activeElement;
  (document.querySelector('dialog[open]') || document.body).append(area);
  area.value = text;
  area.select();
  const done = document.execCommand('copy');
  if (done) { area.remove(); before?.focus?.(); }
  say(words[done ? 'copied' : 'pressCopy'], true);
}

/** Lines of a shell with a button that copies them. */
export const code = (...lines) => h('div', { class: 'code' }, lines.map((line, n) => [n > 0 && '\n', h('span', { class: 'p' }, '$ '), line]), iconButton('copy', words.copy, () => copy(lines.join('\n'))));

export const status = h('div', { class: 'sr', role: 'status' }), alertBox = h('div', { class: 'sr', role: 'alert' });
let toast;
/** Says something to a screen reader, and with `shown` to eyes for 2 s. */
export function say(text, shown, loud) {
  fill(loud ? alertBox : status, text);
  fill(loud ? status : alertBox);
  if (!shown) return;
  toast?.remove();
  toast = h('div', { class: 'toast', 'aria-hidden': 'true' }, text);
  document.body.append(toast);
  const mine = toast;
  setTimeout(() => mine.remove(), 2000);
}

/** A dialog; the focus goes back when it closes. */
export function dialog(title, ...content) {
  const before = document.activeElement, id = `d${++seed}`;
  const box = h('dialog', { 'aria-labelledby': id, onclose: () => { box.remove(); before?.focus?.(); } }, h('h2', { id }, title), ...content);
  document.body.append(box);
  box.showModal();
  return box;
}

export function confirmBox(title, text, label, job) {
  const box = dialog(title, h('p', {}, text), h('div', { class: 'bar' }, button(words.cancel, () => box.close()), button(label, () => { box.close(); job(); }, 'main danger')));
}

/** A menu below its button: [[label, job, note]]. */
export function menu(at, items) {
  document.querySelector('.menu')?.remove();
  const close = (back) => { box.remove(); removeEventListener('pointerdown', away, true); at.setAttribute('aria-expanded', 'false'); if (back) at.focus(); };
  const away = (event) => { if (!box.contains(event.target)) close(); };
  const move = (event) => {
    const all = [...box.children], n = all.indexOf(document.activeElement);
    if (event.key === 'Escape' || event.key === 'Tab') close(true);
    else if (event.key === 'ArrowDown') all[(n + 1) % all.length].focus();
    else if (event.key === 'ArrowUp') all.at(n - 1).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const box = h('div', { class: 'menu', role: 'menu', onkeydown: move }, items.filter(Boolean).map(([label, job, note]) => h('button', { type: 'button', role: 'menuitem', tabindex: '-1', onclick: () => { close(true); job(); } }, label, note && h('span', { class: 'small muted' }, h('br'), note))));
  document.body.append(box);
  const place = at.getBoundingClientRect();
  box.style.top = `${Math.max(8, Math.min(place.bottom + 4, innerHeight - box.offsetHeight - 8))}px`;
  box.style.left = `${Math.max(8, Math.min(place.right - box.offsetWidth, innerWidth - box.offsetWidth - 8))}px`;
  at.setAttribute('aria-expanded', 'true');
  box.firstChild?.focus();
  addEventListener('pointerdown', away, true);
}

/** A row of buttons of which one is pressed. */
export function choice(options, now, pick, cls = 'chip') {
  return options.map(([id, label]) => h('button', { type: 'button', class: cls, 'aria-pressed': String(id === now), onclick: () => pick(id) }, label));
}
