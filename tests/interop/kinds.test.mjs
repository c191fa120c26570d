// Places, contact cards and albums between Baileys and a wildcat account.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { Client } from './client.mjs';
import { Phone } from './simulator.mjs';
import { Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };
const alice = new Phone('15550820001');
const bobsPhone = new Phone('15550820002');
const bob = new Client({ pushName: 'Bob B.' });

let wildcat;
let hook;

before(async () => {
  wildcat = await Wildcat.start();
  await wildcat.pair('alice', alice);
  await bob.pairByQr(bobsPhone);
  hook = await wildcat.subscribe(['message']);
}, options);

after(async () => {
  hook.stop();
  await bob.disconnect();
  assert.equal(await wildcat.stop(), 0);
}, options);

const post = async (path, body) =>
  (await wildcat.api.post(`/accounts/alice/message/send/${path}`, body)).data;

test('places and cards', options, async () => {
  const place = { degreesLatitude: 52.5, degreesLongitude: 13.4, name: 'Office' };
  const sent = await bob.socket.sendMessage(alice.jid, { location: place });
  const { location } = await hook.about('message', sent.key.id);
  assert.deepEqual([location.latitude, location.name], [52.5, 'Office']);
  const own = await post('location', { to: bobsPhone.jid, latitude: -1.5, longitude: 2, name: 'Here' });
  const got = (await bob.receivesId(own.messageId)).message.locationMessage;
  assert.deepEqual([got.degreesLatitude, got.degreesLongitude, got.name], [-1.5, 2, 'Here']);

  const vcard = 'BEGIN:VCARD\nVERSION:3.0\nFN:Zoe\nTEL;waid=15550829999:+15550829999\nEND:VCARD';
  const cards = { displayName: 'Zoe', contacts: [{ vcard }] };
  const card = await bob.socket.sendMessage(alice.jid, { contacts: cards });
  const { contacts } = await hook.about('message', card.key.id);
  assert.equal(contacts[0].vcard, vcard);
  const back = await post('contact', { to: bobsPhone.jid, name: 'Zoe', phone: '+15550829999' });
  const { contactMessage } = (await bob.receivesId(back.messageId)).message;
  assert.equal(contactMessage.displayName, 'Zoe');
  assert.match(contactMessage.vcard, /waid=15550829999/);
});

test("an album of wildcat's: Baileys gets its head and its parts", options, async () => {
  const photo = await readFile(new URL('../fixtures/media/photo.jpg', import.meta.url));
  const base64 = photo.toString('base64');
  const files = [{ base64, caption: 'one' }, { base64 }];
  const { messageId, results } = await post('album', { to: bobsPhone.jid, files });
  const { albumMessage } = (await bob.receivesId(messageId)).message;
  assert.equal(albumMessage.expectedImageCount, 2);
  for (const id of results[0].messageIds) {
    const { message } = await bob.receivesId(id);
    const { messageAssociation } = message.messageContextInfo;
    assert.equal(messageAssociation.parentMessageKey.id, messageId);
    assert.ok(message.associatedChildMessage.message.imageMessage);
  }
});
