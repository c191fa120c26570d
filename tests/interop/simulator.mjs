// The simulator's admin endpoints: the hands that hold the phones. `run` starts the simulator and
// puts the line that it prints when it is ready into SIMULATOR.

const ready = JSON.parse(process.env.SIMULATOR ?? 'null');
if (!ready) throw new Error('SIMULATOR is not set: start the tests with tests/interop/run');

/** Where clients connect. */
export const wsUrl = ready.ws;

/** Where files are. */
export const httpsUrl = ready.https;

/** The public key of the root of the Noise certificate chain. */
export const noiseRoot = Buffer.from(ready.noiseRoot, 'hex');

/** Seconds that anything on loopback may take before a test gives up on it. */
export const PATIENCE = 10;

async function ask(method, path, body) {
  const response = await fetch(`${ready.https}/admin/${path}`, {
    method,
    body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.error}`);
  return answer;
}

/** What the simulator has seen and said, oldest first, for one device (`number:device`). */
export async function stanzas(device) {
  const all = await ask('GET', 'stanzas');
  return all.filter((entry) => entry.device === device);
}

/** The requests of a device that the simulator has not answered with a result. */
export async function unansweredIqs(device) {
  const iqs = (await stanzas(device)).filter(({ stanza }) => stanza.tag === 'iq');
  if (iqs.length === 0) throw new Error(`${device} has asked nothing`);
  const results = new Set(
    iqs
      .filter(({ direction, stanza }) => direction === 'out' && stanza.attrs.type === 'result')
      .map(({ stanza }) => stanza.attrs.id),
  );
  return iqs
    .filter(({ direction, stanza }) => direction === 'in' && stanza.attrs.type !== 'result')
    .filter(({ stanza }) => !results.has(stanza.attrs.id))
    .map(({ stanza }) => stanza);
}

/** Links the client that shows this code with the number that goes with the client's push name. */
export function scanQr(qr) {
  return ask('POST', 'mock-phone/scan-qr', qr);
}

/** A number, and the phone that belongs to it. */
export class Phone {
  /** @param {string} number digits only */
  constructor(number) {
    this.number = number;
    this.jid = `${number}@s.whatsapp.net`;
  }

  /** Makes the number exist; `{number, jid, lid, name, reachable, devices}`. */
  create(name) {
    return ask('POST', 'phones', { number: this.number, name });
  }

  /** The same, of a number that exists. */
  get() {
    return ask('GET', `phones/${this.number}`);
  }

  /** Waits until no linked device of the number is logged in. */
  deviceGone() {
    return ask('GET', `phones/${this.number}?online=false&wait=${PATIENCE}`);
  }

  /** Links the client that shows this code; `{jid, lid, device}`. */
  scanQr(qr) {
    return ask('POST', `mock-phone/scan-qr?number=${this.number}`, qr);
  }

  /** The same by phone code. */
  enterCode(code) {
    return ask('POST', 'mock-phone/enter-code', { number: this.number, code });
  }

  /** Sends a text and returns its id. */
  async send(to, text) {
    const { messageId } = await ask('POST', `phones/${this.number}/messages`, { to, text });
    return messageId;
  }

  /** Sends what the admin endpoint takes and returns its id. */
  async sendBody(body) {
    const { messageId } = await ask('POST', `phones/${this.number}/messages`, body);
    return messageId;
  }

  /** The file of a message, decrypted. */
  async file(messageId) {
    const path = `admin/phones/${this.number}/media/${messageId}`;
    const response = await fetch(`${ready.https}/${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /** Waits for a message with this text. */
  receives(text) {
    return this.#receives((message) => message.text === text);
  }

  /** Waits for the message with this id. */
  receivesId(id) {
    return this.#receives(({ messageId }) => messageId === id);
  }

  async #receives(matches) {
    let count = 0;
    for (;;) {
      const { received } = await this.#messages({ count, wait: PATIENCE });
      const found = received.find(matches);
      if (found) return found;
      count = received.length + 1;
    }
  }

  /** Everything received so far with this text. */
  async received(text) {
    const { received } = await this.#messages({});
    return received.filter((message) => message.text === text);
  }

  /** Waits until a message that the phone sent has a receipt of this type. */
  async receiptFor(messageId, receipt) {
    const { sent } = await this.#messages({ messageId, receipt, wait: PATIENCE });
    return sent
      .find((message) => message.messageId === messageId)
      .receipts.find(({ type }) => type === receipt);
  }

  /** Reads what is unread in a chat. */
  read(chat) {
    return ask('POST', `phones/${this.number}/read`, { chat });
  }

  /** Plays the voice notes of a chat. */
  play(chat) {
    return ask('POST', `phones/${this.number}/played`, { chat });
  }

  /** Gives the phone a past: chats and messages from before any device was linked. */
  remember(past) {
    return ask('POST', `phones/${this.number}/history`, past);
  }

  /** Names people in the phone's address book: `[{number, name}]`. */
  nameContacts(contacts) {
    return ask('POST', `phones/${this.number}/contacts`, { contacts });
  }

  /** Marks a chat as read, for all devices of the number. */
  markChat(chat) {
    return ask('POST', `phones/${this.number}/mark-chat`, { chat });
  }

  /** "Log out" of all linked devices, or of one. */
  unlink(device) {
    return ask('POST', `phones/${this.number}/unlink`, { device });
  }

  #messages(query) {
    return ask('GET', `phones/${this.number}/messages?${new URLSearchParams(query)}`);
  }
}

/** Lets everything expire that a number uploaded. */
export function expireMedia(number) {
  return ask('POST', 'faults', { kind: 'expire-media', number });
}

/** Makes a group whose creator is the first of the members; its JID. */
export async function createGroup(subject, members, addressing) {
  const { jid } = await ask('POST', 'groups', { subject, members, addressing });
  return jid;
}

/** Changes a group as its creator would. */
export function changeGroup(jid, changes) {
  return ask('POST', `groups/${jid}`, changes);
}

/** A group and who is in it. */
export function getGroup(jid) {
  return ask('GET', `groups/${jid}`);
}

/** Breaks the connections of a number's linked devices without a word. */
export function dropConnections(number) {
  return ask('POST', 'faults', { kind: 'drop-connections', number });
}
