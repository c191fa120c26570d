// Baileys, told nothing but where to connect and which root to trust.

import { once } from 'node:events';

import makeWASocket, {
  BufferJSON,
  DisconnectReason,
  WA_CERT_DETAILS,
  downloadMediaMessage,
  generateMessageIDV2,
  initAuthCreds,
  proto,
} from 'baileys';
import pino from 'pino';

import { PATIENCE, httpsUrl, noiseRoot, wsUrl } from './simulator.mjs';

WA_CERT_DETAILS.PUBLIC_KEY = noiseRoot;

// The history names no host, and Baileys has WhatsApp's built in.
const fetchFrom = globalThis.fetch;
globalThis.fetch = (url, init) =>
  fetchFrom(String(url).replace(/^https:\/\/mmg\.whatsapp\.net/, httpsUrl), init);

// `BAILEYS_LOG=trace` shows everything. libsignal writes to the console, private keys and all.
const level = process.env.BAILEYS_LOG ?? 'silent';
const logger = pino({ level }, pino.destination(2));
if (level === 'silent') {
  for (const method of ['log', 'info', 'warn', 'error']) console[method] = () => {};
}

/** The text of a message that Baileys reports. */
export const textOf = ({ message }) =>
  message?.conversation ?? message?.extendedTextMessage?.text ?? undefined;

/**
 * One Baileys client. Its state outlives its connections; what it reports is kept for each connection,
 * so that nothing that happened before it was asked for is missed.
 */
export class Client {
  #creds;
  #keys;
  #socket;
  #reports = [];
  #waiting = new Set();
  #sent = new Map();

  /** @param {{pushName?: string, saved?: string}} options `saved` is what {@link save} returned */
  constructor({ pushName, saved } = {}) {
    this.pushName = pushName;
    const state = saved && JSON.parse(saved, BufferJSON.reviver);
    this.#creds = state?.creds ?? initAuthCreds();
    this.#keys = new Keys(state?.keys);
  }

  /** The credentials and keys, as a program would keep them on a disk. */
  save() {
    return JSON.stringify({ creds: this.#creds, keys: this.#keys.values }, BufferJSON.replacer);
  }

  /** `{id, lid, name}` of the account, once paired. */
  get me() {
    return this.#creds.me;
  }

  /** Baileys itself, for what it does by one call. */
  get socket() {
    return this.#socket;
  }

  /** `number:device` of this client, as the simulator's record names it. */
  get device() {
    const [number, device] = this.me.id.split('@')[0].split(':');
    return `${number}:${device}`;
  }

  /** Opens a connection and forgets what the last one reported. */
  connect() {
    this.#reports = [];
    const socket = makeWASocket({
      waWebSocketUrl: wsUrl,
      version: [2, 3000, 1],
      auth: { creds: this.#creds, keys: this.#keys },
      appStateMacVerification: { patch: true, snapshot: true },
      pushName: this.pushName,
      logger,
      getMessage: async ({ id }) => this.#sent.get(id),
    });
    socket.ev.process((events) => {
      if (socket === this.#socket) this.#report(events);
    });
    socket.ws.on('CB:receipt', (stanza) => {
      if (socket === this.#socket) this.#report({ receipt: stanza });
    });
    this.#socket = socket;
  }

  /** Breaks the connection off, as a program that stops does. */
  async disconnect() {
    const socket = this.#socket;
    this.#socket = undefined;
    await socket?.end(undefined);
  }

  /** Waits for a report that `matches`. */
  reports(name, what, matches) {
    return this.#until(name, what, matches);
  }

  /**
   * The LID of a number, without its server, if Baileys has learnt it. (Its reports of the history lose
   * all but the last part's when it gathers them.)
   */
  lidOf(number) {
    const text = this.#keys.values[`lid-mapping/${number}`];
    return text && JSON.parse(text);
  }

  /** All of the history that this connection has been given. */
  get history() {
    const parts = this.#reports
      .filter(({ name }) => name === 'messaging-history.set')
      .map(({ data }) => data);
    return {
      messages: parts.flatMap(({ messages }) => messages),
      chats: new Map(parts.flatMap(({ chats }) => chats).map((chat) => [chat.id, chat])),
    };
  }

  /** Waits for the QR code. */
  async qr() {
    const { qr } = await this.#until('connection.update', 'a QR code', ({ qr }) => qr);
    return qr;
  }

  /** Asks for a phone code; only between the QR code and the pairing. */
  async phoneCode(number) {
    // Baileys does not wait for the service's answer, as nobody types that fast.
    const answered = once(this.#socket.ws, 'CB:iq,,link_code_companion_reg');
    const code = await this.#socket.requestPairingCode(number);
    await answered;
    return code;
  }

  /** Waits until the connection is open. */
  open() {
    return this.#until('connection.update', 'open', ({ connection }) => connection === 'open');
  }

  /** Waits until everything that happened while the client was away has been delivered. */
  caughtUp() {
    return this.#until(
      'connection.update',
      'end of the offline delivery',
      ({ receivedPendingNotifications }) => receivedPendingNotifications,
    );
  }

  /** Waits until the connection is closed and returns the reason's code. */
  async closed() {
    const update = await this.#until(
      'connection.update',
      'close',
      ({ connection }) => connection === 'close',
    );
    return update.lastDisconnect?.error?.output?.statusCode;
  }

  /** Whether this connection has shown a QR code. */
  get showedQr() {
    return this.#reports.some(({ name, data }) => name === 'connection.update' && data.qr);
  }

  /**
   * Pairs, restarts when told to, and waits until the connection is open.
   * @param {(client: Client) => Promise<object>} act what the phone's owner does, and its outcome
   */
  async pair(act) {
    this.connect();
    const restarted = this.closed().then(async (code) => {
      if (code !== DisconnectReason.restartRequired) throw new Error(`closed with ${code}`);
      this.connect();
      await this.open();
    });
    const [outcome] = await Promise.all([act(this), restarted]);
    return outcome;
  }

  /** Pairs with a phone that scans the QR code. */
  pairByQr(phone) {
    return this.pair(async () => phone.scanQr(await this.qr()));
  }

  /** Sends a text and returns its id. */
  async send(jid, text) {
    const messageId = generateMessageIDV2(this.me.id);
    // On loopback a retry receipt can come before Baileys is done with the sending.
    this.#sent.set(messageId, { extendedTextMessage: { text } });
    await this.#socket.sendMessage(jid, { text }, { messageId });
    return messageId;
  }

  /** Sends anything that Baileys can send, and returns its id. */
  async sendContent(jid, content, options) {
    const sent = await this.#socket.sendMessage(jid, content, options);
    this.#sent.set(sent.key.id, sent.message);
    return sent.key.id;
  }

  /** Waits for the message with this id, decrypted. */
  async receivesId(id) {
    const { messages } = await this.#until('messages.upsert', `message ${id}`, ({ messages }) =>
      messages.some(({ key }) => key.id === id),
    );
    return messages.find(({ key }) => key.id === id);
  }

  /** Waits for a change that somebody made to a message: an edit, a deletion. */
  async changed(id, matches) {
    const updates = await this.#until('messages.update', `a change of ${id}`, (updates) =>
      updates.some(({ key, update }) => key.id === id && matches(update)),
    );
    return updates.find(({ key, update }) => key.id === id && matches(update)).update;
  }

  /** Waits for a reaction to a message. */
  async reaction(id) {
    const reactions = await this.#until('messages.reaction', `a reaction to ${id}`, (reactions) =>
      reactions.some(({ key }) => key.id === id),
    );
    return reactions.find(({ key }) => key.id === id).reaction;
  }

  /**
   * Downloads and decrypts the file of a message.
   * @param {{startByte?: number, endByte?: number}} part
   */
  download(message, part = {}) {
    return downloadMediaMessage(message, 'buffer', part);
  }

  /**
   * Asks the phone to upload the file of a message anew. (Baileys would do so by itself, but does not
   * recognize the error of its own download.)
   */
  askForFile(message) {
    return this.#socket.updateMediaMessage(message);
  }

  /** Waits for a message with this text, decrypted. */
  async receives(text) {
    const { messages } = await this.#until('messages.upsert', `"${text}"`, ({ messages }) =>
      messages.some((message) => textOf(message) === text),
    );
    return messages.find((message) => textOf(message) === text);
  }

  /** Everything that this connection has received with this text. */
  received(text) {
    return this.#reports
      .filter(({ name }) => name === 'messages.upsert')
      .flatMap(({ data }) => data.messages)
      .filter((message) => textOf(message) === text);
  }

  /**
   * Waits until a message that was sent has this status. Baileys gathers what it reports: the update may
   * be in the message itself.
   */
  async status(id, status) {
    const reached = ({ key, status: now }) => key.id === id && now === status;
    await Promise.any([
      this.#until('messages.update', `status ${status} of ${id}`, (updates) =>
        updates.some(({ key, update }) => reached({ key, ...update })),
      ),
      this.#until('messages.upsert', `status ${status} of ${id}`, ({ messages }) =>
        messages.some(reached),
      ),
    ]);
  }

  /**
   * Waits for a receipt for a message, as it came. What Baileys makes of it is the status that came last:
   * a phone's word that it has the message can come behind that of another device that it was read.
   */
  receiptFor(id, type) {
    return this.#until('receipt', `receipt (${type}) for ${id}`, ({ attrs, content }) => {
      const lists = Array.isArray(content) ? content : [];
      const more = lists.flatMap(({ content }) => content ?? []).map(({ attrs }) => attrs.id);
      return attrs.type === type && [attrs.id, ...more].includes(id);
    });
  }

  /** Marks a message as read. */
  read({ key }) {
    return this.#socket.readMessages([key]);
  }

  /** Says that a voice note was played. */
  play({ key }) {
    return this.#socket.sendReceipt(key.remoteJid, undefined, [key.id], 'played');
  }

  /** Forgets the Signal sessions with a person, given the LID. */
  forgetSessions(lid) {
    this.#keys.edit('session', sessionsWith(lid), () => undefined);
  }

  /** Breaks the Signal sessions with a person: what is sent next cannot be read. */
  garbleSessions(lid) {
    this.#keys.edit('session', sessionsWith(lid), garble);
  }

  #report(events) {
    for (const [name, data] of Object.entries(events)) {
      if (name === 'creds.update') Object.assign(this.#creds, data);
      this.#reports.push({ name, data });
      for (const waiting of this.#waiting) waiting({ name, data });
    }
  }

  #until(name, what, matches) {
    const known = this.#reports.find((report) => report.name === name && matches(report.data));
    if (known) return Promise.resolve(known.data);
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = (report) => {
        if (report.name !== name || !matches(report.data)) return;
        done();
        resolve(report.data);
      };
      const timer = setTimeout(() => {
        done();
        const seen = this.#reports.map(brief).join('\n  ');
        reject(new Error(`no ${what} in ${PATIENCE} s; reported:\n  ${seen}`));
      }, PATIENCE * 1000);
      this.#waiting.add(look);
    });
  }
}

function brief({ name, data }) {
  return `${name} ${name === 'creds.update' ? Object.keys(data) : JSON.stringify(data).slice(0, 400)}`;
}

/** Baileys' key store in memory. Values are kept as text, so that none is shared with its user. */
class Keys {
  constructor(values = {}) {
    this.values = values;
  }

  async get(type, ids) {
    return Object.fromEntries(
      ids
        .map((id) => [id, this.values[`${type}/${id}`]])
        .filter(([, text]) => text !== undefined)
        .map(([id, text]) => [id, revive(type, text)]),
    );
  }

  async set(data) {
    for (const [type, entries] of Object.entries(data)) {
      for (const [id, value] of Object.entries(entries)) {
        const key = `${type}/${id}`;
        if (value) this.values[key] = JSON.stringify(value, BufferJSON.replacer);
        else delete this.values[key];
      }
    }
  }

  /** Replaces what has an id that begins so by what `change` makes of it. Throws if there is nothing. */
  edit(type, prefix, change) {
    const found = Object.keys(this.values).filter((key) => key.startsWith(`${type}/${prefix}`));
    if (found.length === 0) throw new Error(`no ${type} ${prefix}`);
    for (const key of found) {
      const id = key.slice(type.length + 1);
      void this.set({ [type]: { [id]: change(revive(type, this.values[key])) } });
    }
  }
}

/** libsignal's mark of a sending chain. */
const SENDING = 1;

/** How the ids of the sessions with a person begin. */
const sessionsWith = (lid) => `${lid.split(/[:@]/)[0]}_1.`;

/** A session whose sending chains are not those that the other side expects. */
function garble(record) {
  for (const session of Object.values(record._sessions)) {
    for (const chain of Object.values(session._chains)) {
      if (chain.chainType === SENDING) chain.chainKey.key = Buffer.alloc(32).toString('base64');
    }
  }
  return record;
}

function revive(type, text) {
  const value = JSON.parse(text, BufferJSON.reviver);
  return type === 'app-state-sync-key' ? proto.Message.AppStateSyncKeyData.fromObject(value) : value;
}
