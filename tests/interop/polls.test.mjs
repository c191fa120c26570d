// Polls between Baileys and a wildcat account: each side votes in the other's, and reads its votes. Baileys opens votes and
// has nothing that makes them: here they are made with Node's own cryptography.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';

import {
  decryptPollVote, generateMessageIDV2, getAggregateVotesInPollMessage, getKeyAuthor, proto,
} from 'baileys';

import { Client } from './client.mjs';
import { seal } from './sealed.mjs';
import { Phone } from './simulator.mjs';
import { Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };
const alice = new Phone('15550800001');
const bobsPhone = new Phone('15550800002');
const bob = new Client({ pushName: 'Bob B.' });

let wildcat;
let hook;

before(async () => {
  wildcat = await Wildcat.start();
  await wildcat.pair('alice', alice);
  await bob.pairByQr(bobsPhone);
  hook = await wildcat.subscribe(['message', 'poll.vote']);
}, options);

after(async () => {
  hook.stop();
  await bob.disconnect();
  assert.equal(await wildcat.stop(), 0);
}, options);

const post = async (path, body) =>
  (await wildcat.api.post(`/accounts/alice/message/${path}`, body)).data.messageId;
const votes = async (id) => {
  const { message } = (await wildcat.api.get(`/accounts/alice/messages/${id}`)).data;
  return message.poll.votes.map(({ voter, options }) => [voter, options]);
};
const sha256 = (text) => createHash('sha256').update(text).digest();

async function bobVotes(id, author, fromMe, secret, chosen) {
  const { PollVoteMessage } = proto.Message;
  const plain = PollVoteMessage.encode({ selectedOptions: chosen.map(sha256) }).finish();
  const vote = seal(secret, id, author, bobsPhone.jid, 'Poll Vote', plain, true);
  const key = { remoteJid: alice.jid, fromMe, id };
  const message = proto.Message.fromObject({
    pollUpdateMessage: { pollCreationMessageKey: key, vote, senderTimestampMs: Date.now() },
  });
  const messageId = generateMessageIDV2(bob.me.id);
  await bob.socket.relayMessage(alice.jid, message, { messageId });
}

test("a poll of wildcat's: Baileys reads it and votes", options, async () => {
  const body = { to: bobsPhone.jid, question: 'Lunch?', options: ['Pizza', 'Salad'] };
  const id = await post('send/poll', body);
  const { message } = await bob.receivesId(id);
  const poll = message.pollCreationMessageV3;
  assert.deepEqual(
    [poll.name, poll.options.map((o) => o.optionName), poll.selectableOptionsCount],
    ['Lunch?', ['Pizza', 'Salad'], 1],
  );
  const secret = message.messageContextInfo.messageSecret;
  for (const chosen of [['Pizza'], ['Salad'], []]) {
    await bobVotes(id, alice.jid, false, secret, chosen);
    const same = (event) => event.options.join() === chosen.join();
    const event = await hook.about('poll.vote', id, same);
    assert.deepEqual([event.voter, event.poll.name], [bobsPhone.jid, 'Lunch?']);
    assert.deepEqual(await votes(id), chosen.length ? [[bobsPhone.jid, chosen]] : []);
  }
});

test("a poll of Baileys': wildcat votes, and Baileys counts the vote", options, async () => {
  const asked = { name: 'Saturday?', values: ['yes', 'no', 'late'], selectableCount: 0 };
  const sent = await bob.socket.sendMessage(alice.jid, { poll: asked });
  const { id } = sent.key;
  const event = await hook.about('message', id);
  assert.deepEqual(event.poll, {
    name: 'Saturday?', options: asked.values, selectable: 0, votes: [],
  });
  const secret = sent.message.messageContextInfo.messageSecret;
  await bobVotes(id, bobsPhone.jid, true, secret, ['no']);
  await hook.about('poll.vote', id, ({ fromMe }) => !fromMe);
  const voted = await post('poll/vote', { to: bobsPhone.jid, messageId: id, options: ['yes', 'late'] });
  const got = await bob.receivesId(voted);
  const update = got.message.pollUpdateMessage;
  assert.deepEqual(
    [update.pollCreationMessageKey.id, update.pollCreationMessageKey.fromMe],
    [id, true],
  );
  const vote = decryptPollVote(update.vote, {
    pollCreatorJid: getKeyAuthor(update.pollCreationMessageKey, bobsPhone.jid),
    pollMsgId: id,
    pollEncKey: secret,
    // By number, as the poll's creator: a client that is asked tries both people's numbers, then both LIDs.
    voterJid: [got.key.remoteJid, got.key.remoteJidAlt].find((jid) => jid === alice.jid),
  });
  const pollUpdates = [{ pollUpdateMessageKey: got.key, vote }];
  const counted = getAggregateVotesInPollMessage({ message: sent.message, pollUpdates });
  const by = Object.fromEntries(counted.map(({ name, voters }) => [name, voters.length]));
  assert.deepEqual(by, { yes: 1, no: 0, late: 1 });
  const expected = [[bobsPhone.jid, ['no']], [alice.jid, ['yes', 'late']]];
  assert.deepEqual(await votes(id), expected);
});
