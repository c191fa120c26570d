// Groups, made by Baileys and by phones.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Client } from './client.mjs';
import { Phone, createGroup, changeGroup, getGroup } from './simulator.mjs';

const options = { timeout: 20_000 };

// Alice and Bob have a phone and a client each. Carol and Dave have phones only.
const alicesPhone = new Phone('15550500001');
const bobsPhone = new Phone('15550500002');
const carol = new Phone('15550500003');
const dave = new Phone('15550500004');
const alice = new Client();
const bob = new Client();
let made;

before(async () => {
  await Promise.all([carol.create('Carol'), dave.create('Dave')]);
  await Promise.all([alice.pairByQr(alicesPhone), bob.pairByQr(bobsPhone)]);
}, options);

after(() => Promise.all([alice.disconnect(), bob.disconnect()]));

test('Baileys makes a group and talks in it', options, async () => {
  made = await alice.socket.groupCreate('club', [bobsPhone.jid, carol.jid]);
  assert.equal(made.subject, 'club');
  assert.equal(made.addressingMode, 'lid');
  assert.equal(made.participants.length, 3);

  for (const text of ['to the club', 'and once more']) {
    const id = await alice.send(made.id, text);
    const heard = await bob.receives(text);
    assert.equal(heard.key.id, id);
    assert.equal(heard.key.remoteJid, made.id);
    assert.equal(heard.key.participantAlt, alicesPhone.jid);
    const atCarols = await carol.receives(text);
    assert.equal(atCarols.chat, made.id);
    assert.equal(atCarols.from, alice.me.id);
    assert.equal((await alicesPhone.receives(text)).fromMe, true);
  }
});

test('a phone and another client answer in it', options, async () => {
  const id = await carol.send(made.id, 'from a phone to the club');
  for (const client of [alice, bob]) {
    const heard = await client.receives('from a phone to the club');
    assert.equal(heard.key.id, id);
    assert.equal(heard.key.remoteJid, made.id);
    assert.equal(heard.pushName, 'Carol');
  }
  await carol.receiptFor(id, 'delivered');
  const heard = await alice.receives('from a phone to the club');
  await alice.read(heard);
  await carol.receiptFor(id, 'read');

  await bob.send(made.id, 'from the other client');
  await alice.receives('from the other client');
  await carol.receives('from the other client');
});

test('people come and go', options, async () => {
  const [added] = await alice.socket.groupParticipantsUpdate(made.id, [dave.jid], 'add');
  assert.equal(added.status, '200');
  await alice.send(made.id, 'welcome');
  await dave.receives('welcome');
  await dave.send(made.id, 'thanks');
  await alice.receives('thanks');
  await bob.receives('thanks');

  await alice.socket.groupParticipantsUpdate(made.id, [carol.jid], 'remove');
  await bob.send(made.id, 'without carol');
  await dave.receives('without carol');
  assert.deepEqual(await carol.received('without carol'), []);

  await alice.socket.groupUpdateSubject(made.id, 'the club');
  await alice.socket.groupUpdateDescription(made.id, 'we meet on Mondays');
  await alice.socket.groupUpdateDescription(made.id, 'we meet on Tuesdays');
  const all = await alice.socket.groupFetchAllParticipating();
  assert.equal(all[made.id].subject, 'the club');
  assert.equal(all[made.id].desc, 'we meet on Tuesdays');
  const seen = await getGroup(made.id);
  assert.deepEqual(
    seen.members.map(({ number }) => number),
    [alicesPhone.number, bobsPhone.number, dave.number],
  );
});

test('a group that names people by number', options, async () => {
  const jid = await createGroup('old', [carol.number, alicesPhone.number], 'pn');
  await carol.send(jid, 'old times');
  const heard = await alice.receives('old times');
  assert.equal(heard.key.participant, carol.jid);
  await alice.send(jid, 'old indeed');
  await carol.receives('old indeed');
  await changeGroup(jid, { announcement: true });
  const { announce } = await alice.socket.groupMetadata(jid);
  assert.equal(announce, true);
});
