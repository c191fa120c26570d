// The server, its keys and its settings, to read.
import { words } from './words.js';
import { button, clean, code, h, head, fill, icon, name, rich, t } from './dom.js';
import { get, on, setKey, state } from './api.js';
import { count, size, span, when } from './format.js';
import { shows } from './shell.js';

/** Health is asked with a plain fetch: 503 is an answer, too. */
export async function health() {
  try { return await get('health'); } catch (error) { if (error.status === 503) return error.more; throw error; }
}

const pairs = (title, rows) => h('section', { class: 'card pad' }, h('h2', {}, title), h('dl', {}, rows.filter(Boolean).map(([a, b]) => h('div', {}, h('dt', {}, a), h('dd', {}, b)))));

export function serverView() {
  const page = h('div', { class: 'page' });
  async function load() {
    let now, s;
    try { now = await health(); s = await get('server'); } catch { return; }
    const wrong = [['sStorage', now.storage], ['sThread', now.eventThread], ['sPanics', now.tasks]].filter(([, x]) => x?.problem).map(([key, x]) => [words[key], x.problem]).concat(now.accounts.filter((a) => a.problem).map((a) => [a.id, a.problem]));
    const up = now.accounts.filter((a) => a.status === 'connected').length;
    fill(page, head(words.server, s.host),
      wrong.length ? h('section', { class: 'note bad', 'aria-label': words.problems }, icon('alert'), h('div', {}, wrong.map(([who, what]) => h('p', {}, h('b', {}, name(who), ': '), clean(what))))) : h('section', { class: 'note' }, icon('check', 'ok'), h('b', {}, words.allWell)),
      h('div', { class: 'grid' },
        pairs(words.server, [[words.sVersion, s.version], [words.sUptime, span(Date.now() - Date.parse(s.startedAt))], s.addresses && [words.sAddress, s.addresses.map((a) => h('div', { class: 'mono second' }, a))], s.memory && [words.sMemory, size(s.memory)], [words.sLongest, `${Math.round(now.eventThread.longestMs)} ms`], [words.sPanics, count(now.tasks.panics)]]),
        pairs(words.sStorage, [s.storage?.path && [words.sPath, h('code', {}, s.storage.path)], s.storage?.used !== undefined && [words.sDisk, size(s.storage.used)], s.storage?.free !== undefined && [words.sFree, size(s.storage.free)]]),
        pairs(words.accounts, [[words.accounts, t('sConnected', { n: up, m: now.accounts.length })], [words.webhooks, `${now.webhooks.hooks}`], [words.fWaiting, t('sBehind', { n: now.webhooks.behind })]])),
      h('br'), h('h2', {}, words.sBackup), code('sudo wildcat backup /mnt/usb/wildcat.tar'));
  }
  load();
  shows({ method: 'GET', path: 'health' });
  const tick = setInterval(() => !document.hidden && load(), 10_000), end = on('online', load);
  return { box: page, end() { clearInterval(tick); end(); } };
}

export function keysView(leave) {
  const page = h('div', { class: 'page' });
  shows({ method: 'GET', path: 'keys' });
  (async () => {
    const { keys } = await get('keys').catch(() => ({ keys: [] })), own = state.server.key?.name;
    fill(page, head(words.keys, keys.length ? '' : state.server.open ? words.openServer : words.noKeys),
      keys.length > 0 && h('ul', { class: 'card accts' }, keys.map((k) => h('li', {}, h('b', {}, name(k.name)), h('span', {}, k.name === own && h('span', { class: 'pill ok' }, words.thisBrowser)), h('span', { class: 'muted' }, [k.readOnly ? words.reads : words.everything, k.account && t('ofAccount', { id: k.account }), k.createdAt && t('madeOn', { time: when(k.createdAt) })].filter(Boolean).join(', ')), k.name === own ? button(words.forget, () => { setKey(''); leave(); }) : h('span', {}), h('span', {})))),
      h('br'), h('p', {}, words.makeKey), h('br'), code('sudo wildcat key add phone'), h('br'), code('sudo wildcat key remove phone'));
  })();
  return { box: page, end() {} };
}

export function settingsView() {
  const page = h('div', { class: 'page' });
  shows({ method: 'GET', path: 'settings' });
  (async () => {
    const found = await get('settings').catch((error) => ({ error }));
    if (found.error) return fill(page, head(words.settings, found.error.message));
    fill(page, head(words.settings), h('p', {}, rich('setChange', { file: 'wildcat.toml' })), h('br'),
      h('div', { class: 'card' }, h('table', {}, h('thead', {}, h('tr', {}, [words.setName, words.setValue, words.setFrom].map((x) => h('th', {}, x)))), h('tbody', {}, found.settings.map((x) => h('tr', {}, h('th', {}, h('code', {}, x.name)), h('td', {}, h('code', {}, String(x.value ?? '–'))), h('td', { class: 'muted' }, x.isDefault ? words.setDefault : words.setChanged)))))));
  })();
  return { box: page, end() {} };
}

