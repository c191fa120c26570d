// The server under test, as its users run it: the real binary, its HTTP API through axios, its
// webhooks. `run` builds it and puts its path into WILDCAT.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import axios from 'axios';

import { PATIENCE, wsUrl } from './simulator.mjs';

const { WILDCAT, NODE_EXTRA_CA_CERTS, PATH, HOME } = process.env;
if (!WILDCAT) throw new Error('WILDCAT is not set: start the tests with tests/interop/run');

/** Every event there is. */
export const ALL_EVENTS = [
  ...['message', 'message.any', 'message.sent', 'message.status', 'message.reaction', 'message.edited'],
  ...['message.deleted', 'account.status', 'account.qr', 'account.passkey'],
];

/** A running server with an empty data directory. */
export class Wildcat {
  #child;
  #log = [];

  /** Starts it and waits until it listens. `settings` are more environment variables. */
  static async start(settings = {}) {
    const wildcat = new Wildcat();
    await wildcat.#start(settings);
    return wildcat;
  }

  async #start(settings) {
    const data = mkdtempSync(join(tmpdir(), 'wildcat-'));
    const child = spawn(WILDCAT, ['--data', join(data, 'data')], {
      cwd: data,
      // Nothing of the machine's own settings may leak in.
      env: {
        PATH,
        HOME,
        WILDCAT_SERVER_LISTEN: '127.0.0.1:0',
        WILDCAT_WHATSAPP_URL: wsUrl,
        WILDCAT_WHATSAPP_VERSION: '2.3000.1',
        WILDCAT_TLS_EXTRA_CA: NODE_EXTRA_CA_CERTS,
        WILDCAT_LIMITS_MESSAGES_PER_MINUTE: '6000',
        WILDCAT_LIMITS_BURST: '6000',
        WILDCAT_OUTBOX_GAP: '0s',
        ...settings,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    // It must not outlive a test that was cut off.
    process.on('exit', () => child.kill('SIGKILL'));
    const listens = new Promise((resolve, reject) => {
      createInterface({ input: child.stderr })
        .on('line', (line) => {
          this.#log.push(line);
          const [, address] = /listening on (\S+)/.exec(line) ?? [];
          if (address) resolve(address);
        })
        .on('close', () => reject(new Error(`the server ended:\n${this.log}`)));
    });
    this.base = await listens;
    /** Rejects with `error.response` for everything but 2xx, as programs have it. */
    this.api = axios.create({ baseURL: this.base, proxy: false });
  }

  /** What it has said so far. */
  get log() {
    return this.#log.join('\n');
  }

  /** Stops it as an init system does, and waits for its end; its exit code. */
  async stop() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const [code] = await ended;
    return code;
  }

  /** Makes an account and lets a phone scan its QR code; returns when it is connected. */
  async pair(account, phone) {
    const receiver = await Receiver.start();
    const events = ['account.qr', 'account.status'];
    const hook = { url: receiver.url, accountId: account, events };
    const { data: registered } = await this.api.post('/webhooks', hook);
    await this.api.post('/accounts', { id: account });
    const { qr } = await receiver.until('a QR code', ({ event }) => event === 'account.qr');
    await phone.scanQr(qr);
    await receiver.until('the connection', ({ status }) => status === 'connected');
    await this.api.delete(`/webhooks/${registered.id}`);
    receiver.stop();
  }

  /** A webhook that receives events of these kinds. */
  async subscribe(events = ALL_EVENTS) {
    const receiver = await Receiver.start();
    await this.api.post('/webhooks', { url: receiver.url, events });
    return receiver;
  }
}

/** A web server that takes webhooks and remembers them. */
export class Receiver {
  #server;
  #waiting = new Set();

  /** What came, oldest first: the body, as JSON. */
  events = [];
  /** The headers of each. */
  headers = [];

  static async start() {
    const receiver = new Receiver();
    receiver.#server = createServer((request, response) => receiver.#take(request, response));
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    const { port } = receiver.#server.address();
    receiver.url = `http://127.0.0.1:${port}/hook`;
    return receiver;
  }

  stop() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #take(request, response) {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const event = JSON.parse(Buffer.concat(pieces));
    response.end();
    this.headers.push(request.headers);
    this.events.push(event);
    for (const look of this.#waiting) look(event);
  }

  /** Waits for an event, unless it has come already. */
  until(what, matches) {
    const known = this.events.find(matches);
    if (known) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = (event) => {
        if (!matches(event)) return;
        done();
        resolve(event);
      };
      const timer = setTimeout(() => {
        done();
        const seen = this.events.map((event) => JSON.stringify(event)).join('\n  ');
        reject(new Error(`no ${what} in ${PATIENCE} s; received:\n  ${seen}`));
      }, PATIENCE * 1000);
      this.#waiting.add(look);
    });
  }

  /** Waits for an event about a message. */
  about(event, messageId, matches = () => true) {
    return this.until(
      `${event} of ${messageId}`,
      (got) => got.event === event && got.messageId === messageId && matches(got),
    );
  }
}
