// Groups in which a wildcat account, Baileys and phones talk: files compared, while people come and go.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { proto } from 'baileys';

import { Client } from './client.mjs';
import { opus, pdf, png } from './files.mjs';
import { Phone, changeGroup, createGroup } from './simulator.mjs';
import { Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };

// Alice is a wildcat account, Bob uses Baileys, Carol and Dave have phones only.
const alice = new Phone('15550800001');
const bobsPhone = new Phone('15550800002');
const carol = new Phone('15550800003');
const dave = new Phone('15550800004');
const bob = new Client({ pushName: 'Bob B.' });

let wildcat;
let hook;

before(async () => {
  await Promise.all([carol.create('Carol'), dave.create('Dave')]);
  wildcat = await Wildcat.start();
  await wildcat.pair('alice', alice);
  await bob.pairByQr(bobsPhone);
  hook = await wildcat.subscribe();
}, options);

after(async () => {
  hook.stop();
  await bob.disconnect();
  assert.equal(await wildcat.stop(), 0);
}, options);

const post = async (path, body) =>
  (await wildcat.api.post(`/accounts/alice/message/${path}`, body)).data.messageId;
const shown = async (id) => (await wildcat.api.get(`/accounts/alice/messages/${id}`)).data.message;
const fileOf = async ({ mediaUrl }) =>
  (await wildcat.api.get(mediaUrl, { responseType: 'arraybuffer' })).data;
const chatName = async (jid) => {
  const { chats } = (await wildcat.api.get('/accounts/alice/chats')).data;
  return chats.find(({ chatId }) => chatId === jid)?.name;
};

/** Bob says something in each way; Alice has all of it. */
async function bobSpeaks(group, round, phones) {
  const text = `${round}: from Bob`;
  const id = await bob.send(group, text);
  const event = await hook.about('message', id);
  assert.deepEqual(
    [event.text, event.chatId, event.from, event.sender, event.fromMe],
    [text, group, group, bobsPhone.jid, false],
  );
  const image = png(50, 40, `${round}/bob`);
  const content = { image, caption: round, mimetype: 'image/png' };
  const imageId = await bob.sendContent(group, content);
  const picture = await hook.about('message', imageId);
  assert.deepEqual([picture.type, picture.caption, picture.text], ['image', round, round]);
  assert.deepEqual([picture.chatId, picture.from, picture.sender], [group, group, bobsPhone.jid]);
  assert.ok((await fileOf(picture)).equals(image));
  for (const phone of phones) {
    assert.equal((await phone.receivesId(id)).text, text);
    await phone.receivesId(imageId);
    assert.ok((await phone.file(imageId)).equals(image));
  }
  return { id, imageId };
}

/** Alice says something in each way; Bob has all of it. */
async function aliceSpeaks(group, round, phones) {
  const text = `${round}: from Alice`;
  const id = await post('send', { to: group, message: text });
  const heard = await bob.receives(text);
  assert.deepEqual([heard.key.id, heard.key.remoteJid], [id, group]);
  assert.ok([heard.key.participant, heard.key.participantAlt].includes(alice.jid));
  const image = png(40, 50, `${round}/alice`);
  const body = { to: group, base64: image.toString('base64'), caption: round };
  const imageId = await post('send/image', body);
  const picture = await bob.receivesId(imageId);
  assert.equal(picture.message.imageMessage.caption, round);
  assert.ok((await bob.download(picture)).equals(image));
  for (const phone of phones) {
    assert.equal((await phone.receivesId(id)).text, text);
    await phone.receivesId(imageId);
    assert.ok((await phone.file(imageId)).equals(image));
  }
  return { heard, picture };
}

/** Each reacts to what the other said. */
async function bothReact(group, { id }, { picture }) {
  await post('react', { chatId: group, messageId: id, emoji: '👍' });
  assert.equal((await bob.reaction(id)).text, '👍');
  await bob.sendContent(group, { react: { text: '❤️', key: picture.key } });
  const event = await hook.about('message.reaction', picture.key.id);
  assert.deepEqual([event.emoji, event.sender, event.from], ['❤️', bobsPhone.jid, group]);
  const { reactions } = await shown(picture.key.id);
  assert.deepEqual(
    reactions.map(({ from, emoji }) => [from, emoji]),
    [[bobsPhone.jid, '❤️']],
  );
}

/**
 * Waits until Alice's account knows who is in the group now: what a member says behind a change comes
 * behind the news of it. (Whoever sends at the same moment sends as things were; WhatsApp mends that by
 * retries, which is not what is looked at here.)
 */
async function settled(group, member) {
  const id = await member.send(group, `${member.number} has seen it`);
  await hook.about('message', id);
}

test('a group that Baileys makes, with people who come and go', options, async () => {
  const { id: group } = await bob.socket.groupCreate('club', [alice.jid, carol.jid]);
  const first = await bobSpeaks(group, 'first', [carol]);
  assert.equal(await chatName(group), 'club');
  await bothReact(group, first, await aliceSpeaks(group, 'first', [carol]));

  const [added] = await bob.socket.groupParticipantsUpdate(group, [dave.jid], 'add');
  assert.equal(added.status, '200');
  await bothReact(
    group,
    await bobSpeaks(group, 'with Dave', [carol, dave]),
    await aliceSpeaks(group, 'with Dave', [carol, dave]),
  );
  const thanks = await dave.send(group, 'thanks');
  assert.equal((await hook.about('message', thanks)).sender, dave.jid);

  await changeGroup(group, { by: carol.number, leave: true });
  await settled(group, dave);
  const reply = await aliceSpeaks(group, 'without Carol', [dave]);
  await bothReact(group, await bobSpeaks(group, 'without Carol', [dave]), reply);
  for (const text of ['without Carol: from Alice', 'without Carol: from Bob']) {
    assert.deepEqual(await carol.received(text), []);
  }
  assert.deepEqual(await carol.received('without Carol'), []);

  await bob.socket.groupUpdateSubject(group, 'the club');
  const last = await bob.send(group, 'renamed');
  await hook.about('message', last);
  assert.equal(await chatName(group), 'the club');
});

for (const addressing of ['lid', 'pn']) {
  test(`a group that a phone makes, by ${addressing}`, options, async () => {
    const members = [carol.number, alice.number, bobsPhone.number];
    const group = await createGroup(`old ${addressing}`, members, addressing);
    const one = await aliceSpeaks(group, `one ${addressing}`, [carol]);
    await bothReact(group, await bobSpeaks(group, `one ${addressing}`, [carol]), one);
    assert.equal(await chatName(group), `old ${addressing}`);

    // Bob goes and comes back; what is said meanwhile is not for him.
    await changeGroup(group, { remove: [bobsPhone.number] });
    await settled(group, carol);
    const secret = await post('send', { to: group, message: `without Bob ${addressing}` });
    await carol.receivesId(secret);
    await changeGroup(group, { add: [bobsPhone.number] });
    await settled(group, carol);
    const two = await aliceSpeaks(group, `two ${addressing}`, [carol]);
    assert.deepEqual(bob.received(`without Bob ${addressing}`), []);
    await bothReact(group, await bobSpeaks(group, `two ${addressing}`, [carol]), two);
  });
}

test('replies, files, edits and deletions in a group', options, async () => {
  const group = await createGroup('all', [alice.number, bobsPhone.number, carol.number]);
  const question = await bob.send(group, 'who has the papers?');
  await hook.about('message', question);

  const reply = { to: group, message: 'I have', quotedMessageId: question };
  const id = await post('reply', { ...reply, mentions: [bobsPhone.jid] });
  const heard = await bob.receives('I have');
  const { contextInfo } = heard.message.extendedTextMessage;
  assert.equal(contextInfo.stanzaId, question);
  assert.equal(contextInfo.mentionedJid.length, 1);
  const { lid } = await bobsPhone.get();
  assert.ok([bobsPhone.jid, lid].includes(contextInfo.participant), contextInfo.participant);

  const paper = pdf('group');
  const body = { to: group, base64: paper.toString('base64'), fileName: 'Papier.pdf' };
  const document = await bob.receivesId(await post('send/document', body));
  assert.equal(document.message.documentMessage.fileName, 'Papier.pdf');
  assert.ok((await bob.download(document)).equals(paper));

  const note = opus(2, 'group');
  const audio = { audio: note, ptt: true, seconds: 2, mimetype: 'audio/ogg; codecs=opus' };
  const voice = await bob.sendContent(group, audio, { quoted: heard });
  const event = await hook.about('message', voice);
  assert.deepEqual([event.type, event.quotedMessage.messageId], ['voice', id]);
  assert.deepEqual([event.quotedMessage.participant, event.quotedMessage.text], [alice.jid, 'I have']);
  assert.ok((await fileOf(event)).equals(note));

  const { lid: alicesLid } = await alice.get();
  const mention = { text: `@${alice.number}?`, mentions: [alicesLid] };
  const called = await hook.about('message', await bob.sendContent(group, mention));
  assert.deepEqual(called.mentions, [alice.jid]);

  const key = { remoteJid: group, fromMe: true, id: question };
  await bob.sendContent(group, { text: 'who has my papers?', edit: key });
  assert.equal((await hook.about('message.edited', question)).text, 'who has my papers?');
  await bob.sendContent(group, { delete: key });
  assert.equal((await hook.about('message.deleted', question)).sender, bobsPhone.jid);
  assert.equal((await shown(question)).deleted, true);

  await post('delete', { chatId: group, messageId: id });
  const { messageStubType } = await bob.changed(id, (update) => update.messageStubType);
  assert.equal(messageStubType, proto.WebMessageInfo.StubType.REVOKE);
  // Alice is the group's admin: she may delete what Bob said.
  await post('delete', { chatId: group, messageId: voice });
  await bob.changed(voice, (update) => update.messageStubType);
  assert.equal((await carol.receivesId(voice)).type, 'audio');
  assert.deepEqual([(await shown(voice)).deleted, (await shown(voice)).hasMedia], [true, false]);
});

test('what became of a message in a group', options, async () => {
  const group = await createGroup('readers', [bobsPhone.number, alice.number, carol.number]);
  const id = await post('send', { to: group, message: 'read this, all' });
  const heard = await bob.receives('read this, all');
  await carol.receivesId(id);
  await bob.read(heard);
  const isRead = ({ status, participant }) => status === 'read' && participant === bobsPhone.jid;
  await hook.about('message.status', id, isRead);
});
