// What Baileys learns of the time before it was linked, and of what the owner does on the phone.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Client } from './client.mjs';
import { Phone } from './simulator.mjs';

const options = { timeout: 20_000 };

const alicesPhone = new Phone('15550600001');
const carol = new Phone('15550600002');
const alice = new Client();
let past;

before(async () => {
  await carol.create('Carol');
  past = await alicesPhone.remember({
    chats: 5,
    messagesPerChat: 300,
    groups: 1,
    unread: 2,
    days: 10,
  });
  await alicesPhone.nameContacts([{ number: carol.number, name: 'Carol Jones' }]);
  await alice.pairByQr(alicesPhone);
}, options);

after(() => alice.disconnect());

test('every message of the past arrives once', options, async () => {
  await alice.reports('messaging-history.set', 'the last of the history', () => {
    const { messages } = alice.history;
    return messages.length >= past.messages;
  });
  const { messages, chats } = alice.history;
  const ids = new Set(messages.map(({ key }) => key.id));
  assert.equal(messages.length, past.messages);
  assert.equal(ids.size, past.messages);
  for (const { jid, first, last } of past.chats) {
    assert.ok(ids.has(first) && ids.has(last), jid);
    assert.equal(chats.get(jid).unreadCount, 2);
  }
  assert.equal(chats.get(past.chats[0].jid).name, 'Group 0');
  const people = past.chats.map(({ jid }) => jid).filter((jid) => jid.endsWith('@s.whatsapp.net'));
  assert.equal(people.length, 5);
  for (const jid of people) assert.match(alice.lidOf(jid.split('@')[0]), /^[0-9]+$/);
});

test('contacts come with their names, before and after', options, async () => {
  const isCalled = (name) => (contacts) =>
    contacts.some((contact) => contact.id === carol.jid && contact.name === name);
  await alice.reports('contacts.upsert', 'Carol Jones', isCalled('Carol Jones'));
  await alicesPhone.nameContacts([{ number: carol.number, name: 'Carol Smith' }]);
  await alice.reports('contacts.upsert', 'Carol Smith', isCalled('Carol Smith'));
});

test('a chat that was read on the phone is read here', options, async () => {
  await carol.send(alicesPhone.number, 'hello');
  await alice.receives('hello');
  await alicesPhone.markChat(carol.jid);
  await alice.reports('chats.update', 'the chat marked read', (chats) =>
    chats.some(({ id, unreadCount }) => id === carol.jid && unreadCount === 0),
  );
});
