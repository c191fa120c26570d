// Baileys and a wildcat account talk through the simulator: what one says is what the other has, byte
// for byte, and what wildcat shows over its API and webhooks is what Baileys said.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { proto } from 'baileys';

import { Client } from './client.mjs';
import { jpeg, mp4, opus, pdf, png, webp } from './files.mjs';
import { Phone } from './simulator.mjs';
import { Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };
const { DELIVERY_ACK } = proto.WebMessageInfo.Status;

// Alice is a wildcat account, Bob uses Baileys.
const alice = new Phone('15550700001');
const bobsPhone = new Phone('15550700002');
const bob = new Client({ pushName: 'Bob B.' });

let wildcat;
let hook;

before(async () => {
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

/** What Baileys unwraps is in one of these. */
const contentOf = ({ message }) => message.documentWithCaptionMessage?.message ?? message;

test('texts from Baileys', options, async () => {
  for (const text of ['hi Alice', 'Zweite Zeile\n🐱 日本語']) {
    const id = await bob.send(alice.jid, text);
    const event = await hook.about('message', id);
    assert.deepEqual(
      [event.text, event.type, event.from, event.sender, event.fromMe, event.pushName],
      [text, 'text', bobsPhone.jid, bobsPhone.jid, false, 'Bob B.'],
    );
    assert.equal((await shown(id)).text, text);
    await bob.status(id, DELIVERY_ACK);
  }
});

test('texts from wildcat, and what becomes of them', options, async () => {
  for (const text of ['hi Bob', '你好\n🐈']) {
    const id = await post('send', { to: bobsPhone.jid, message: text });
    const got = await bob.receives(text);
    assert.deepEqual([got.key.id, got.key.fromMe], [id, false]);
    assert.ok([got.key.remoteJid, got.key.remoteJidAlt].includes(alice.jid));
    await hook.about('message.status', id, ({ status }) => status === 'delivered');
    await bob.read(got);
    const read = await hook.about('message.status', id, ({ status }) => status === 'read');
    assert.deepEqual([read.chatId, read.participant], [bobsPhone.jid, bobsPhone.jid]);
    assert.equal((await shown(id)).status, 'read');
  }
});

test('Baileys sees that wildcat has read', options, async () => {
  const id = await bob.send(alice.jid, 'did you read this?');
  await hook.about('message', id);
  await wildcat.api.post(`/accounts/alice/chats/${bobsPhone.jid}/read`);
  await bob.receiptFor(id, 'read');
});

test("Baileys' files", options, async () => {
  const voice = opus(2, 'baileys');
  for (const [content, bytes, expected] of [
    [
      { image: png(80, 60, 'baileys'), caption: 'Schau 🌄', mimetype: 'image/png' },
      png(80, 60, 'baileys'),
      { type: 'image', caption: 'Schau 🌄', mediaMimetype: 'image/png' },
    ],
    [{ image: jpeg(64, 64, 'b') }, jpeg(64, 64, 'b'), { type: 'image', mediaMimetype: 'image/jpeg' }],
    [
      { audio: voice, ptt: true, seconds: 2, mimetype: 'audio/ogg; codecs=opus' },
      voice,
      { type: 'voice', mediaType: 'audio', mediaMimetype: 'audio/ogg; codecs=opus' },
    ],
    [
      { audio: voice, seconds: 2, mimetype: 'audio/ogg; codecs=opus' },
      voice,
      { type: 'audio', mediaType: 'audio' },
    ],
    [
      { document: pdf('b'), fileName: 'Übersicht 猫.pdf', mimetype: 'application/pdf' },
      pdf('b'),
      { type: 'document', mediaFileName: 'Übersicht 猫.pdf', mediaMimetype: 'application/pdf' },
    ],
    [
      { document: pdf('c'), fileName: 'c.pdf', mimetype: 'application/pdf', caption: 'read' },
      pdf('c'),
      { type: 'document', caption: 'read', mediaFileName: 'c.pdf' },
    ],
    [{ sticker: webp() }, webp(), { type: 'sticker', mediaMimetype: 'image/webp' }],
    [
      { video: mp4(64, 48, 2, 'b'), caption: 'moving' },
      mp4(64, 48, 2, 'b'),
      { type: 'video', caption: 'moving', mediaMimetype: 'video/mp4' },
    ],
  ]) {
    const id = await bob.sendContent(alice.jid, content);
    const event = await hook.about('message', id);
    for (const [key, value] of Object.entries(expected)) assert.equal(event[key], value, key);
    assert.deepEqual([event.hasMedia, event.mediaSize], [true, bytes.length]);
    assert.ok((await fileOf(event)).equals(bytes), expected.type);
    await bob.status(id, DELIVERY_ACK);
  }
});

test("wildcat's files", options, async () => {
  const file = (bytes, more) => ({ base64: bytes.toString('base64'), ...more });
  const voice = opus(3, 'wildcat');
  for (const [kind, bytes, more, name, expected] of [
    [
      ...['image', png(70, 50, 'wildcat'), { caption: 'look 🌄' }],
      ...['imageMessage', { caption: 'look 🌄', mimetype: 'image/png', width: 70, height: 50 }],
    ],
    [
      ...['image', jpeg(48, 64, 'w'), {}, 'imageMessage'],
      { mimetype: 'image/jpeg', width: 48, height: 64 },
    ],
    [
      ...['audio', voice, { ptt: true }, 'audioMessage'],
      { ptt: true, mimetype: 'audio/ogg; codecs=opus', seconds: 3 },
    ],
    [
      ...['document', pdf('w'), { fileName: 'Ölpreis 資料.pdf' }, 'documentMessage'],
      { fileName: 'Ölpreis 資料.pdf' },
    ],
    [
      ...['document', pdf('x'), { fileName: 'x.pdf', caption: 'packed' }, 'documentMessage'],
      { fileName: 'x.pdf', caption: 'packed' },
    ],
    ['sticker', webp(), {}, 'stickerMessage', { mimetype: 'image/webp' }],
    [
      ...['video', mp4(96, 64, 2, 'w'), { caption: 'runs' }, 'videoMessage'],
      { caption: 'runs', mimetype: 'video/mp4', width: 96, height: 64, seconds: 2 },
    ],
  ]) {
    const id = await post(`send/${kind}`, { to: bobsPhone.jid, ...file(bytes, more) });
    const got = await bob.receivesId(id);
    const content = contentOf(got)[name];
    assert.ok(content, `${kind}: ${JSON.stringify(got.message)}`);
    for (const [key, value] of Object.entries(expected)) assert.equal(content[key], value, key);
    assert.equal(Number(content.fileLength), bytes.length);
    if (kind === 'image') assert.equal(content.jpegThumbnail[0], 0xff);
    if (more.ptt) assert.equal(content.waveform.length, 64);
    assert.ok((await bob.download(got)).equals(bytes), kind);
    const part = await bob.download(got, { startByte: 10, endByte: 20 });
    assert.ok(part.equals(bytes.subarray(10, 20)), kind);
    await hook.about('message.status', id, ({ status }) => status === 'delivered');
    if (more.ptt) {
      await bob.play(got);
      await hook.about('message.status', id, ({ status }) => status === 'played');
    }
  }
});

test('what can be opened once, round videos, stickers with their pack', options, async () => {
  const file = (bytes) => ({ to: bobsPhone.jid, base64: bytes.toString('base64') });
  // WhatsApp keeps it from linked devices, which Bob uses.
  const once = await post('send/image', { ...file(png(30, 20, 'once')), viewOnce: true });
  const stub = await bob.receivesId(once);
  assert.deepEqual([stub.key.isViewOnce, stub.message ?? null], [true, null]);

  const round = await post('send/video', { ...file(mp4(64, 64, 2, 'r')), note: true });
  const film = await bob.receivesId(round);
  assert.equal(film.message.ptvMessage.seconds, 2);
  assert.ok((await bob.download(film)).equals(mp4(64, 64, 2, 'r')));

  const sticker = { ...file(jpeg(32, 32, 's')), packName: 'Cats', author: 'Zoë' };
  const got = await bob.receivesId(await post('send/sticker', sticker));
  const { stickerMessage } = got.message;
  const { mimetype, width, height } = stickerMessage;
  assert.deepEqual([mimetype, width, height], ['image/webp', 512, 512]);
  const bytes = await bob.download(got);
  const exif = bytes.subarray(bytes.indexOf('EXIF') + 8 + 22);
  const pack = JSON.parse(exif.toString('utf8').replace(/\0$/, ''));
  assert.deepEqual([pack['sticker-pack-name'], pack['sticker-pack-publisher']], ['Cats', 'Zoë']);
});

test('an album of Baileys', options, async () => {
  const head = await bob.sendContent(alice.jid, {
    album: { expectedImageCount: 2, expectedVideoCount: 0 },
  });
  const albumParentKey = { remoteJid: alice.jid, fromMe: true, id: head };
  for (const seed of ['one', 'two']) {
    const image = png(40, 30, seed);
    const id = await bob.sendContent(alice.jid, { image, mimetype: 'image/png', albumParentKey });
    const event = await hook.about('message', id);
    assert.deepEqual([event.type, event.albumId], ['image', head]);
    assert.ok((await fileOf(event)).equals(image));
  }
  const none = await wildcat.api.get(`/accounts/alice/messages/${head}`, { validateStatus: null });
  assert.equal(none.status, 404);
});

test('Baileys replies, reacts, edits and deletes', options, async () => {
  const id = await post('send', { to: bobsPhone.number, message: 'what do you think?' });
  const heard = await bob.receives('what do you think?');
  const reply = await bob.sendContent(alice.jid, { text: 'nice' }, { quoted: heard });
  const { quotedMessage, text } = await hook.about('message', reply);
  assert.equal(text, 'nice');
  assert.deepEqual(quotedMessage, {
    messageId: id,
    participant: alice.jid,
    text: 'what do you think?',
    hasMedia: false,
  });

  for (const emoji of ['👍', '❤️', '']) {
    await bob.sendContent(alice.jid, { react: { text: emoji, key: heard.key } });
    const event = await hook.about('message.reaction', id, (event) => event.emoji === emoji);
    assert.deepEqual([event.sender, event.fromMe, event.from], [bobsPhone.jid, false, bobsPhone.jid]);
    assert.deepEqual(
      (await shown(id)).reactions.map(({ from, emoji }) => [from, emoji]),
      emoji ? [[bobsPhone.jid, emoji]] : [],
    );
  }

  const key = { remoteJid: alice.jid, fromMe: true, id: reply };
  await bob.sendContent(alice.jid, { text: 'very nice', edit: key });
  const edited = await hook.about('message.edited', reply);
  assert.deepEqual([edited.text, edited.edited], ['very nice', true]);
  await bob.sendContent(alice.jid, { delete: key });
  const deleted = await hook.about('message.deleted', reply);
  assert.deepEqual([deleted.sender, deleted.from], [bobsPhone.jid, bobsPhone.jid]);
  const gone = await shown(reply);
  assert.deepEqual([gone.deleted, gone.text], [true, null]);
});

test('Baileys says something about a file, and replies with one', options, async () => {
  const image = png(30, 30, 'about');
  const body = { to: bobsPhone.jid, base64: image.toString('base64'), caption: 'mine' };
  const id = await post('send/image', body);
  const heard = await bob.receivesId(id);
  const content = { image: png(20, 20, 'yours'), caption: 'yours' };
  const reply = await bob.sendContent(alice.jid, content, { quoted: heard });
  const event = await hook.about('message', reply);
  assert.deepEqual(event.quotedMessage, {
    messageId: id,
    participant: alice.jid,
    text: 'mine',
    hasMedia: true,
  });
  assert.ok((await fileOf(event)).equals(content.image));
  await bob.sendContent(alice.jid, { react: { text: '🎉', key: heard.key } });
  await hook.about('message.reaction', id);
  const key = { remoteJid: alice.jid, fromMe: true, id: reply };
  await bob.sendContent(alice.jid, { delete: key });
  await hook.about('message.deleted', reply);
  assert.deepEqual([(await shown(reply)).hasMedia, (await shown(reply)).caption], [false, null]);
  const media = wildcat.api.get(event.mediaUrl);
  await assert.rejects(media, ({ response }) => response.status === 404);
});

test('wildcat replies, reacts and deletes', options, async () => {
  const picture = await bob.sendContent(alice.jid, { image: png(16, 16, 'q'), caption: 'a view' });
  await hook.about('message', picture);
  const reply = { to: bobsPhone.jid, message: 'what a view', quotedMessageId: picture };
  const id = await post('reply', reply);
  const got = await bob.receives('what a view');
  assert.equal(got.key.id, id);
  const { contextInfo } = got.message.extendedTextMessage;
  assert.equal(contextInfo.stanzaId, picture);
  assert.equal(contextInfo.quotedMessage.imageMessage.caption, 'a view');
  const { lid } = await bobsPhone.get();
  assert.ok([bobsPhone.jid, lid].includes(contextInfo.participant), contextInfo.participant);

  const chatId = bobsPhone.jid;
  await post('react', { chatId, messageId: picture, emoji: '😍' });
  const reaction = await bob.reaction(picture);
  assert.deepEqual([reaction.text, reaction.key.fromMe], ['😍', false]);

  await post('delete', { chatId, messageId: id });
  const { messageStubType } = await bob.changed(id, (update) => update.messageStubType);
  assert.equal(messageStubType, proto.WebMessageInfo.StubType.REVOKE);
});

test("Alice's phone sees what her account sends, and the account what the phone does", options, async () => {
  const id = await post('send', { to: bobsPhone.jid, message: 'from the account' });
  assert.equal((await alice.receivesId(id)).fromMe, true);
  const other = await alice.send(bobsPhone.number, 'from the phone');
  await bob.receives('from the phone');
  const event = await hook.about('message', other);
  assert.deepEqual([event.fromMe, event.chatId, event.from, event.sender], [
    true,
    bobsPhone.jid,
    bobsPhone.jid,
    alice.jid,
  ]);
});

test('all of it is one chat', options, async () => {
  const { chats } = (await wildcat.api.get('/accounts/alice/chats')).data;
  assert.deepEqual(
    chats.map(({ chatId, name }) => [chatId, name]),
    [[bobsPhone.jid, 'Bob B.']],
  );
});
