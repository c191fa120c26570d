// A list of which only the rows in view are in the document: one spacer, rows of one height, pages on demand.
import { h } from './dom.js';

export const ROW = 72, PAGE = 100, PAGES = 20, SPARE = 8;

/**
 * `load(page)` resolves to {items, total}; `draw(item, index)` makes a row; `id(item)` names it.
 * Returns {box, refresh, put, items}.
 */
export function windowed({ label, load, draw, id, empty }) {
  const rows = h('ul', { 'aria-label': label }), box = h('div', { class: 'rows' }, rows), none = h('div', { class: 'empty', hidden: true });
  box.append(none);
  let items = [], total = 0, shown = new Map(), loading = new Set(), recent = [], turn = 0, frame;

  async function fetchPage(page) {
    if (loading.has(page)) return;
    loading.add(page);
    const mine = turn;
    try {
      const found = await load(page);
      if (mine !== turn) return;
      total = Math.max(found.total, 0);
      found.items.forEach((item, n) => { items[page * PAGE + n] = item; });
      items.length = Math.min(items.length, total);
      recent = [page, ...recent.filter((p) => p !== page)];
      // What is far away is asked for again when it comes into view.
      for (const old of recent.splice(PAGES)) for (let n = old * PAGE; n < (old + 1) * PAGE; n++) delete items[n];
      render(true);
    } catch { /* The bar of the server that is gone says it. */ } finally { loading.delete(page); }
  }

  function render(anew) {
    frame = 0;
    rows.style.height = `${total * ROW}px`;
    none.hidden = total > 0 || loading.size > 0 && !anew;
    if (!none.hidden) none.replaceChildren(...[empty()].flat());
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE), last = Math.min(total, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
    const keep = new Map();
    for (let n = first; n < last; n++) {
      const item = items[n];
      if (!item) fetchPage(Math.floor(n / PAGE));
      const key = item ? id(item) : `#${n}`;
      let row = shown.get(key);
      if (!row || row.item !== item) {
        const node = h('li', {}, item ? draw(item, n) : h('div', { class: 'row' }, h('span', { class: 'grey' })));
        if (row?.node.contains(document.activeElement)) { row.node.replaceWith(node); node.firstChild.focus({ preventScroll: true }); } else row?.node.remove();
        row = { node, item };
      }
      row.node.setAttribute('aria-setsize', total);
      row.node.setAttribute('aria-posinset', n + 1);
      row.node.firstChild.style.top = `${n * ROW}px`;
      keep.set(key, row);
    }
    for (const [key, row] of shown) if (!keep.has(key)) { if (row.node.contains(document.activeElement)) keep.set(key, row); else row.node.remove(); }
    shown = keep;
    // In the order of what they are, for tabs and screen readers.
    let before = null;
    for (const row of [...keep.values()].reverse()) { if (row.node.nextSibling !== before || row.node.parentNode !== rows) rows.insertBefore(row.node, before); before = row.node; }
    const links = [...rows.querySelectorAll('.row[href]')], stop = links.find((l) => l === document.activeElement) || links.find((l) => l.hasAttribute('aria-current')) || links[0];
    for (const link of links) link.tabIndex = link === stop ? 0 : -1;
  }
  const later = () => { frame ||= requestAnimationFrame(() => render()); };
  box.addEventListener('scroll', later, { passive: true });
  const seen = new ResizeObserver(later);
  seen.observe(box);
  box.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step || event.target.tagName === 'INPUT') return;
    const now = Number(document.activeElement.closest('li')?.getAttribute('aria-posinset') || 0) - 1, next = Math.min(total - 1, Math.max(0, now + step));
    event.preventDefault();
    event.stopPropagation();
    const top = next * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
    render();
    rows.querySelector(`[aria-posinset="${next + 1}"] .row[href]`)?.focus({ preventScroll: true });
  });

  return {
    box,
    refresh() { turn++; items = []; loading.clear(); recent = []; return fetchPage(0); },
    redraw() { for (const row of shown.values()) row.item = null; render(); },
    items: () => items,
    find: (key) => items.findIndex((item) => item && id(item) === key),
    /** Puts an item first, from where it was; what is in view stays where it is. */
    first(item, known) {
      const was = items.findIndex((other) => other && id(other) === id(item));
      if (was >= 0) items.splice(was, 1);
      else if (!known) total++;
      // A row of a page that is not here was this one: those behind it are not trusted.
      if (was < 0) items.length = Math.min(items.length, Math.floor(items.length / PAGE) * PAGE || items.length);
      items.unshift(item);
      if (box.scrollTop > 0 && (was < 0 || was * ROW >= box.scrollTop)) box.scrollTop += ROW;
      render(true);
    },
    change(key, job) { const n = this.find(key); if (n >= 0) { items[n] = job({ ...items[n] }); render(true); } return n >= 0; },
    end() { seen.disconnect(); },
  };
}
