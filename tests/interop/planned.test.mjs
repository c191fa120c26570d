// Events between Baileys and a wildcat account: Baileys sends them and reads responses, and has nothing that makes responses:
// here they are made with Node's own cryptography.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { decryptEventResponse, generateMessageIDV2, getKeyAuthor, proto } from 'baileys';

import { Client } from './client.mjs';
import { seal } from './sealed.mjs';
import { Phone } from './simulator.mjs';
import { Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };
const alice = new Phone('15550810001');
const bobsPhone = new Phone('15550810002');
const bob = new Client({ pushName: 'Bob B.' });
const start = new Date('2030-01-01T18:00:00Z');

let wildcat;
let hook;

before(async () => {
  wildcat = await Wildcat.start();
  await wildcat.pair('alice', alice);
  await bob.pairByQr(bobsPhone);
  hook = await wildcat.subscribe(['message', 'event.response']);
}, options);

after(async () => {
  hook.stop();
  await bob.disconnect();
  assert.equal(await wildcat.stop(), 0);
}, options);

const post = async (path, body) =>
  (await wildcat.api.post(`/accounts/alice/message/${path}`, body)).data.messageId;

test("an event of wildcat's: Baileys reads it and responds", options, async () => {
  const body = { to: bobsPhone.jid, name: 'Dinner', description: 'with music', start, call: 'video',
    location: 'Harbour', extraGuestsAllowed: true };
  const id = await post('send/event', body);
  const { message } = await bob.receivesId(id);
  const event = message.eventMessage;
  assert.deepEqual(
    [event.name, event.description, Number(event.startTime), event.location.name, event.isCanceled],
    ['Dinner', 'with music', start / 1000, 'Harbour', false],
  );
  assert.match(event.joinLink, /^https:\/\/call\.whatsapp\.com\/video\/\w{22}$/);
  const secret = message.messageContextInfo.messageSecret;
  const { EventResponseMessage } = proto.Message;
  const { GOING } = EventResponseMessage.EventResponseType;
  const plain = EventResponseMessage.encode({ response: GOING, extraGuestCount: 1 }).finish();
  const sealed = seal(secret, id, alice.jid, bobsPhone.jid, 'Event Response', plain, true);
  const eventCreationMessageKey = { remoteJid: alice.jid, fromMe: false, id };
  const answer = proto.Message.fromObject({
    encEventResponseMessage: { eventCreationMessageKey, ...sealed },
  });
  const messageId = generateMessageIDV2(bob.me.id);
  await bob.socket.relayMessage(alice.jid, answer, { messageId });
  const got = await hook.about('event.response', id);
  assert.deepEqual([got.sender, got.response, got.extraGuests], [bobsPhone.jid, 'going', 1]);
});

test("an event of Baileys': wildcat responds, and Baileys reads the response", options, async () => {
  const event = { name: 'Lunch', startDate: start, description: 'outside' };
  const sent = await bob.socket.sendMessage(alice.jid, { event });
  const { id } = sent.key;
  const { eventDetails } = await hook.about('message', id);
  assert.deepEqual(
    [eventDetails.name, eventDetails.description, eventDetails.start],
    ['Lunch', 'outside', start.getTime()],
  );
  const body = { chatId: bobsPhone.jid, messageId: id, response: 'not_going' };
  const got = await bob.receivesId(await post('event/respond', body));
  const sealed = got.message.encEventResponseMessage;
  const key = sealed.eventCreationMessageKey;
  // Baileys turns the keys of reactions and votes round, and leaves this one as it was sent.
  assert.deepEqual([key.id, key.fromMe, key.remoteJid], [id, false, bobsPhone.jid]);
  const response = decryptEventResponse(sealed, {
    eventCreatorJid: getKeyAuthor(key, bobsPhone.jid),
    eventMsgId: id,
    eventEncKey: sent.message.messageContextInfo.messageSecret,
    responderJid: [got.key.remoteJid, got.key.remoteJidAlt].find((jid) => jid === alice.jid),
  });
  const { NOT_GOING } = proto.Message.EventResponseMessage.EventResponseType;
  assert.equal(response.response, NOT_GOING);
});
