// What a client missed, and what it could not read.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { DisconnectReason, proto } from 'baileys';

import { Client } from './client.mjs';
import { Phone, dropConnections } from './simulator.mjs';

const options = { timeout: 20_000 };
const { DELIVERY_ACK } = proto.WebMessageInfo.Status;

const alicesPhone = new Phone('15550300001');
const bobsPhone = new Phone('15550300002');
const carol = new Phone('15550300003');
const alice = new Client();
const bob = new Client();
let carolsLid;

before(async () => {
  ({ lid: carolsLid } = await carol.create('Carol'));
  await Promise.all([alice.pairByQr(alicesPhone), bob.pairByQr(bobsPhone)]);
  // From here on nobody opens a session with anybody: what cannot be read has to be asked for.
  await exchange(carol, alice);
  await alice.send(bobsPhone.jid, 'first');
  await bob.receives('first');
  await bob.send(alicesPhone.jid, 'second');
  await alice.receives('second');
}, options);

after(() => Promise.all([alice.disconnect(), bob.disconnect()]));

async function exchange(phone, client) {
  await phone.send(alicesPhone.number, 'ping');
  await client.receives('ping');
  await client.send(phone.jid, 'pong');
  await phone.receives('pong');
}

test('messages sent meanwhile arrive after the reconnect, once', options, async () => {
  await alice.disconnect();
  await alicesPhone.deviceGone();
  const texts = Array.from({ length: 20 }, (_, n) => `meanwhile ${n}`);
  const ids = [];
  for (const text of texts) ids.push(await carol.send(alicesPhone.number, text));
  await bob.send(alicesPhone.jid, 'meanwhile from a client');

  alice.connect();
  await alice.caughtUp();
  await alice.receives('meanwhile from a client');
  for (const text of texts) await alice.receives(text);
  for (const id of ids) await carol.receiptFor(id, 'delivered');
  for (const text of texts) assert.equal(alice.received(text).length, 1, text);

  await alice.disconnect();
  await alicesPhone.deviceGone();
  alice.connect();
  await alice.caughtUp();
  for (const text of texts) assert.equal(alice.received(text).length, 0, text);
});

test('so they do when the connection was dropped', options, async () => {
  await dropConnections(alicesPhone.number);
  assert.equal(await alice.closed(), DisconnectReason.connectionClosed);
  const id = await carol.send(alicesPhone.number, 'after the drop');

  alice.connect();
  assert.equal((await alice.receives('after the drop')).key.id, id);
  await carol.receiptFor(id, 'delivered');
  const sent = await alice.send(carol.jid, 'back again');
  assert.equal((await carol.receives('back again')).messageId, sent);
  assert.equal(alice.received('after the drop').length, 1);
});

test('a phone sends again what a client cannot read', options, async () => {
  alice.forgetSessions(carolsLid);
  const id = await carol.send(alicesPhone.number, 'from a phone, again');
  assert.equal((await alice.receives('from a phone, again')).key.id, id);
  await carol.receiptFor(id, 'retry');
  await carol.receiptFor(id, 'delivered');
});

test('a client sends again what a client cannot read', options, async () => {
  bob.forgetSessions(alice.me.lid);
  const id = await alice.send(bobsPhone.jid, 'from a client, again');
  assert.equal((await bob.receives('from a client, again')).key.id, id);
  await bob.send(alicesPhone.jid, 'now I can');
  await alice.receives('now I can');
});

test('a client sends again what a phone cannot read', options, async () => {
  alice.garbleSessions(carolsLid);
  const id = await alice.send(carol.jid, 'to a phone, again');
  assert.equal((await carol.receives('to a phone, again')).messageId, id);
  await alice.status(id, DELIVERY_ACK);
  assert.equal((await carol.received('to a phone, again')).length, 1);
});
