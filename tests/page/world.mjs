// The server under test, the phones that write to it, and the browser that shows its page.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import puppeteer from 'puppeteer-core';

const { SIMULATOR, WILDCAT, CHROMIUM, SHOTS, SOURCE, PATH, HOME, NODE_EXTRA_CA_CERTS } = process.env;
if (!SIMULATOR) throw new Error('SIMULATOR is not set: start the tests with tests/page/run');
const simulator = JSON.parse(SIMULATOR);
const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** Milliseconds that the page may take for anything on this machine. */
export const PATIENCE = Number(process.env.PATIENCE || 30_000);

/** The phones' hands: see tests/simulator/README.md. */
export async function phones(path, body, method = body === undefined ? 'GET' : 'POST') {
  const answer = await fetch(`${simulator.https}/admin/${path}`, { method, body: typeof body === 'string' ? body : JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${json.error}`);
  return json;
}

/** A port that is free now, for a server that comes back on it. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** A server with a data directory of its own. */
export class Wildcat {
  static async start(settings = {}) {
    const wildcat = new Wildcat();
    wildcat.data = join(mkdtempSync(join(tmpdir(), 'wildcat-')), 'data');
    wildcat.base = `http://127.0.0.1:${await freePort()}`;
    wildcat.settings = settings;
    await wildcat.up();
    return wildcat;
  }

  async up() {
    this.child = spawn(WILDCAT, ['--data', this.data], {
      cwd: tmpdir(),
      // Nothing of the machine's own settings.
      env: { PATH, HOME, WILDCAT_SERVER_LISTEN: this.base.slice(7), WILDCAT_WHATSAPP_URL: simulator.ws, WILDCAT_WHATSAPP_VERSION: '2.3000.1', WILDCAT_TLS_EXTRA_CA: NODE_EXTRA_CA_CERTS, WILDCAT_LIMITS_MESSAGES_PER_MINUTE: '6000', WILDCAT_LIMITS_BURST: '6000', WILDCAT_OUTBOX_GAP: '0s', ...this.settings },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const { child } = this;
    process.on('exit', () => child.kill('SIGKILL'));
    const log = [];
    await new Promise((resolve, reject) => {
      createInterface({ input: child.stderr })
        .on('line', (line) => { log.push(line); if (line.includes('listening on')) resolve(); })
        .on('close', () => reject(new Error(`the server ended:\n${log.join('\n')}`)));
    });
  }

  /** Resident memory, in kB. */
  memory() { return Number(readFileSync(`/proc/${this.child.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]); }

  async down(signal = 'SIGTERM') {
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }

  /** Makes a key by the command line; the key. */
  key(name, ...more) {
    const said = execFileSync(WILDCAT, ['key', 'add', name, ...more, '--data', this.data], { env: { PATH, HOME }, encoding: 'utf8' });
    return said.match(/wc_[\w-]+/)[0];
  }

  dropKey(name) {
    execFileSync(WILDCAT, ['key', 'remove', name, '--data', this.data], { env: { PATH, HOME } });
  }

  async api(method, path, body) {
    const answer = await fetch(this.base + path, { method, headers: { 'Content-Type': 'application/json', 'X-Api-Key': this.using || '' }, body: body && JSON.stringify(body) });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${json.error}`);
    return json;
  }

  /** Makes an account and lets the phone of that number scan its code. */
  async pair(id, number, name) {
    await phones('phones', { number, name });
    await this.api('POST', '/accounts', { id, name });
    await until(async () => {
      const { qr } = await this.api('GET', `/accounts/${id}/status`);
      if (qr) await phones(`mock-phone/scan-qr?number=${number}`, qr);
      return qr;
    }, 'a code');
    await until(async () => (await this.api('GET', `/accounts/${id}/status`)).status === 'connected', 'the connection');
  }
}

/** What `job` gives once it gives something. It may fail until then: an element that it asks for may not be there yet. */
export async function until(job, what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    let cause;
    const found = await Promise.resolve().then(job).catch((error) => { cause = error; });
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`, { cause });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

let running;
export async function chromium() {
  running ||= await puppeteer.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--autoplay-policy=no-user-gesture-required'] });
  return running;
}

/** With SOURCE the page's style and modules are read from that folder as they are now, not from the program. */
async function fromSource(page) {
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const { pathname } = new URL(request.url()), name = pathname.match(/\/web\/([\w.]+)$/)?.[1];
    if (!name) return request.continue();
    const body = name === 'page.js' ? "import './app.js';" : readFileSync(join(SOURCE, name), 'utf8');
    request.respond({ contentType: name.endsWith('.css') ? 'text/css' : name.endsWith('.svg') ? 'image/svg+xml' : 'text/javascript', body });
  });
}

export const DESKTOP = { width: 1440, height: 900 }, PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
/** As narrow as a phone. A page that becomes a touch screen is loaded anew; this one is not. */
export const NARROW = { width: 360, height: 740, deviceScaleFactor: 2 };

/** A window of the page. `remote`: as a browser on another machine has it; `phone`: with the simulated phone beside it. */
export class Window {
  static async open(base, { size = DESKTOP, dark = false, remote = false, phone = false, path = '' } = {}) {
    const window = new Window();
    window.context = await (await chromium()).createBrowserContext();
    const page = window.page = await window.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.setViewport(size);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }, { name: 'prefers-reduced-motion', value: 'reduce' }]);
    if (remote) await page.setExtraHTTPHeaders({ 'X-Forwarded-For': '192.168.1.9' });
    // The phone reads what comes, of which some tests count the receipts.
    if (!phone) await page.evaluateOnNewDocument(() => localStorage.setItem('wildcat.phone', 'closed'));
    window.errors = [];
    window.hosts = new Set();
    page.on('pageerror', (error) => window.errors.push(error.stack || error.message));
    page.on('console', (message) => { if (/Content Security Policy|TrustedHTML|Refused/.test(message.text())) window.errors.push(message.text()); });
    page.on('request', (request) => { if (/^https?:/.test(request.url())) window.hosts.add(new URL(request.url()).host); });
    window.base = base;
    if (SOURCE) await fromSource(page);
    await page.goto(`${base}/${path}`);
    return window;
  }

  /** Goes to an address of the page. */
  async go(hash) {
    await this.page.evaluate((to) => { location.hash = to; }, hash);
  }

  text() { return this.page.evaluate(() => document.body.innerText); }

  /** Waits until the page shows these words. */
  async sees(words) {
    await this.page.waitForFunction((text) => document.body.innerText.includes(text), { polling: 100 }, words).catch(async () => {
      throw new Error(`the page does not show “${words}” but:\n${(await this.text()).slice(0, 1500)}\n${this.errors.join('\n')}`);
    });
  }

  async loses(words) {
    await this.page.waitForFunction((text) => !document.body.innerText.includes(text), { polling: 100 }, words);
  }

  /** Clicks the button or link of that name. */
  async click(name, within = '') {
    // Found and clicked in one step, for what is drawn anew between two; and as a script, for what a passing message covers.
    await this.page.waitForFunction((label, root) => {
      const shown = (node) => node.checkVisibility() && node.getClientRects().length;
      const all = [...(root ? document.querySelectorAll(root) : [document])].flatMap((node) => [...node.querySelectorAll('button, a, summary, [role=menuitem], label')]).filter(shown);
      const named = (node) => [node.getAttribute('aria-label'), node.innerText?.trim()].filter(Boolean);
      const found = all.find((node) => named(node).includes(label)) || all.find((node) => named(node).some((text) => text.startsWith(label)));
      found?.click();
      return !!found;
    }, { polling: 50 }, name, within).catch(() => { throw new Error(`there is no ${name} to click`); });
  }

  /** Clicks the chat of that name in the list. */
  async open(name) {
    await until(() => this.page.evaluate((text) => { const row = [...document.querySelectorAll('.row[href]')].find((a) => a.innerText.includes(text)); row?.click(); return !!row; }, name), name);
  }

  async type(selector, text) {
    await this.page.waitForSelector(selector, { visible: true });
    await this.page.focus(selector);
    await this.page.keyboard.type(text);
  }

  async shot(name) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    await this.page.screenshot({ path: join(SHOTS, `${name}.png`) });
  }

  /** Serious and critical findings of the accessibility checker. */
  async findings() {
    // The page's own policy lets no foreign script in: this one comes by the debugger's way.
    const client = await this.page.createCDPSession();
    await client.send('Runtime.evaluate', { expression: axe });
    const { result } = await client.send('Runtime.evaluate', { awaitPromise: true, returnByValue: true, expression: `axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')))` });
    await client.detach();
    return result.value;
  }

  /** Closes it; an error that it had fails the test. */
  async close() {
    await this.context.close();
    const strangers = [...this.hosts].filter((host) => host !== new URL(this.base).host);
    if (strangers.length) throw new Error(`the page asked ${strangers}`);
    if (this.errors.length) throw new Error(this.errors.join('\n'));
  }
}
