// Text in every direction, with receipts.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { proto } from 'baileys';

import { Client } from './client.mjs';
import { Phone } from './simulator.mjs';

const options = { timeout: 20_000 };
const { DELIVERY_ACK, READ } = proto.WebMessageInfo.Status;

// Alice and Bob have a phone and a client each. Carol has a phone only.
const alicesPhone = new Phone('15550200001');
const bobsPhone = new Phone('15550200002');
const carol = new Phone('15550200003');
const alice = new Client();
const bob = new Client();
let carolsLid;
let alicesLid;

before(async () => {
  ({ lid: carolsLid } = await carol.create('Carol'));
  await Promise.all([alice.pairByQr(alicesPhone), bob.pairByQr(bobsPhone)]);
  ({ lid: alicesLid } = await alicesPhone.get());
}, options);

after(() => Promise.all([alice.disconnect(), bob.disconnect()]));

test('a text reaches a phone, and its receipts come back', options, async () => {
  const id = await alice.send(carol.jid, 'to the number');
  const message = await carol.receives('to the number');
  assert.equal(message.messageId, id);
  assert.equal(message.from, alice.me.id);
  assert.equal(message.chat, alicesPhone.jid);
  assert.equal(message.fromMe, false);
  await alice.status(id, DELIVERY_ACK);
  await carol.read(alicesPhone.jid);
  await alice.status(id, READ);
});

test('so does one that is addressed to the LID', options, async () => {
  const id = await alice.send(carolsLid, 'to the LID');
  const message = await carol.receives('to the LID');
  assert.equal(message.messageId, id);
  assert.equal(message.chat, alicesPhone.jid);
  await alice.status(id, DELIVERY_ACK);
  await carol.read(alicesPhone.jid);
  await alice.status(id, READ);
});

test("a phone's text arrives, and the phone learns that it did", options, async () => {
  const id = await carol.send(alicesPhone.number, 'from a phone');
  const message = await alice.receives('from a phone');
  assert.equal(message.key.id, id);
  assert.equal(message.key.remoteJid, carol.jid);
  assert.equal(message.key.remoteJidAlt, carolsLid);
  assert.equal(message.key.fromMe, false);
  assert.equal(message.pushName, 'Carol');
  await carol.receiptFor(id, 'delivered');
  await alice.read(message);
  await carol.receiptFor(id, 'read');
});

test('so does one that a phone addresses to the LID', options, async () => {
  const id = await carol.send(alicesLid, 'from a phone to the LID');
  const message = await alice.receives('from a phone to the LID');
  assert.equal(message.key.id, id);
  assert.equal(message.key.remoteJid, carolsLid);
  assert.equal(message.key.remoteJidAlt, carol.jid);
  await carol.receiptFor(id, 'delivered');
});

test('two clients talk, and their phones see it', options, async () => {
  for (const round of ['one', 'two']) {
    const question = `question ${round}`;
    const asked = await alice.send(bobsPhone.jid, question);
    const heard = await bob.receives(question);
    assert.equal(heard.key.id, asked);
    assert.equal(heard.key.remoteJid, alicesPhone.jid);
    assert.equal((await bobsPhone.receives(question)).fromMe, false);
    assert.equal((await alicesPhone.receives(question)).fromMe, true);
    await alice.status(asked, DELIVERY_ACK);
    await bob.read(heard);
    await alice.status(asked, READ);

    const answer = `answer ${round}`;
    const answered = await bob.send(alicesPhone.jid, answer);
    assert.equal((await alice.receives(answer)).key.id, answered);
    assert.equal((await alicesPhone.receives(answer)).from, bob.me.id);
    await bob.status(answered, DELIVERY_ACK);
  }
});

test('what the own phone sends shows at the client', options, async () => {
  const id = await alicesPhone.send(carol.number, 'from my phone');
  const message = await alice.receives('from my phone');
  assert.equal(message.key.id, id);
  assert.equal(message.key.fromMe, true);
  assert.equal(message.key.remoteJid, carol.jid);
  assert.equal((await carol.receives('from my phone')).from, alicesPhone.jid);
});
