// Files both ways, bytes compared, and what is said about them: reactions, replies, edits, deletions.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';

import { proto } from 'baileys';

import { Client } from './client.mjs';
import { Phone, expireMedia } from './simulator.mjs';

const options = { timeout: 20_000 };
const bytes = Buffer.from(Array.from({ length: 70_001 }, (_, n) => n % 251));
const file = bytes.toString('base64');
const { PLAYED } = proto.WebMessageInfo.Status;
const sha256 = createHash('sha256').update(bytes).digest('hex');

// Alice has a phone and a client. Carol has a phone only.
const alicesPhone = new Phone('15550400001');
const carol = new Phone('15550400003');
const alice = new Client();

before(async () => {
  await carol.create('Carol');
  await alice.pairByQr(alicesPhone);
}, options);

after(() => alice.disconnect());

/** What Baileys unwraps is in one of these. */
const contentOf = ({ message }) =>
  (message.documentWithCaptionMessage ?? message.ephemeralMessage)?.message ?? message;

test("a phone's files are downloaded", options, async () => {
  const bodies = [
    [{ image: { base64: file, caption: 'a view' } }, 'imageMessage', { caption: 'a view' }],
    [{ audio: { base64: file, ptt: true, seconds: 3 } }, 'audioMessage', { ptt: true, seconds: 3 }],
    [
      { document: { base64: file, fileName: 'a.pdf', caption: 'read' } },
      'documentMessage',
      { fileName: 'a.pdf', caption: 'read' },
    ],
    [{ sticker: { base64: file } }, 'stickerMessage', { mimetype: 'image/webp' }],
    [{ video: { base64: file }, ephemeral: 60 }, 'videoMessage', { mimetype: 'video/mp4' }],
  ];
  for (const [body, kind, expected] of bodies) {
    const id = await carol.sendBody({ to: alicesPhone.number, ...body });
    const message = await alice.receivesId(id);
    const content = contentOf(message)[kind];
    for (const [key, value] of Object.entries(expected)) assert.equal(content[key], value);
    assert.deepEqual(await alice.download(message), bytes, kind);
    await carol.receiptFor(id, 'delivered');
  }
});

test('a part of a file is downloaded', options, async () => {
  const id = await carol.sendBody({ to: alicesPhone.number, document: { base64: file } });
  const message = await alice.receivesId(id);
  const part = await alice.download(message, { startByte: 20_000, endByte: 30_000 });
  assert.deepEqual(part, bytes.subarray(20_000, 30_000));
});

test("a client's files reach the phones", options, async () => {
  const contents = [
    [{ image: bytes, caption: 'look', mimetype: 'image/png' }, 'image', { mimetype: 'image/png' }],
    [
      { audio: bytes, ptt: true, seconds: 2, mimetype: 'audio/ogg; codecs=opus' },
      'audio',
      { ptt: true, seconds: 2 },
    ],
    [
      { document: bytes, fileName: 'b.zip', mimetype: 'application/zip' },
      'document',
      { fileName: 'b.zip' },
    ],
    [
      { document: bytes, fileName: 'c.zip', mimetype: 'application/zip', caption: 'packed' },
      'document',
      { fileName: 'c.zip' },
    ],
    [{ sticker: bytes }, 'sticker', { mimetype: 'image/webp' }],
    [{ video: bytes, caption: 'moving' }, 'video', { mimetype: 'video/mp4' }],
  ];
  for (const [content, kind, expected] of contents) {
    const id = await alice.sendContent(carol.jid, content);
    for (const phone of [carol, alicesPhone]) {
      const message = await phone.receivesId(id);
      assert.equal(message.type, kind);
      assert.equal(message.text, content.caption);
      assert.equal(message.fromMe, phone === alicesPhone);
      assert.equal(message.media.error, undefined);
      assert.equal(message.media.sha256, sha256);
      for (const [key, value] of Object.entries(expected)) {
        assert.equal(message.media[key], value);
      }
      assert.deepEqual(await phone.file(id), bytes);
    }
  }
});

test('what the own phone sends comes with its file', options, async () => {
  const id = await alicesPhone.sendBody({ to: carol.number, image: { base64: file } });
  const message = await alice.receivesId(id);
  assert.equal(message.key.fromMe, true);
  assert.deepEqual(await alice.download(message), bytes);
});

test('a file that has expired is asked for', options, async () => {
  const id = await carol.sendBody({ to: alicesPhone.number, image: { base64: file } });
  const message = await alice.receivesId(id);
  const { directPath } = message.message.imageMessage;
  await expireMedia();
  await assert.rejects(alice.download(message), ({ output }) => output.statusCode === 410);
  await alice.askForFile(message);
  assert.deepEqual(await alice.download(message), bytes);
  assert.notEqual(message.message.imageMessage.directPath, directPath);
});

test('whoever plays a voice note says so', options, async () => {
  const audio = { base64: file, ptt: true };
  const heard = await carol.sendBody({ to: alicesPhone.number, audio });
  await alice.play(await alice.receivesId(heard));
  await carol.receiptFor(heard, 'played');
  const said = await alice.sendContent(carol.jid, { audio: bytes, ptt: true, seconds: 2 });
  await carol.receivesId(said);
  await carol.play(alicesPhone.jid);
  await alice.status(said, PLAYED);
});

test('a client says something about a file, and the phone sees it', options, async () => {
  const id = await carol.sendBody({ to: alicesPhone.number, image: { base64: file } });
  const picture = await alice.receivesId(id);
  const reaction = await alice.sendContent(carol.jid, { react: { text: '👍', key: picture.key } });
  assert.equal((await carol.receivesId(reaction)).reactionTo, id);

  const reply = await alice.sendContent(carol.jid, { text: 'nice' }, { quoted: picture });
  const replied = await carol.receivesId(reply);
  assert.equal(replied.quotedId, id);
  assert.equal(replied.quoted.type, 'image');

  const key = { remoteJid: carol.jid, fromMe: true, id: reply };
  const edit = await alice.sendContent(carol.jid, { text: 'very nice', edit: key });
  const edited = await carol.receivesId(edit);
  assert.deepEqual([edited.editOf, edited.text], [reply, 'very nice']);
  const deletion = await alice.sendContent(carol.jid, { delete: key });
  assert.equal((await carol.receivesId(deletion)).deleteOf, reply);
});

test('a phone says something about a file, and the client sees it', options, async () => {
  const content = { image: bytes, caption: 'mine' };
  const id = await alice.sendContent(carol.jid, content);
  await carol.receivesId(id);
  const to = alicesPhone.number;
  await carol.sendBody({ to, react: { messageId: id, emoji: '🎉' } });
  assert.equal((await alice.reaction(id)).text, '🎉');
  const reply = await carol.sendBody({ to, sticker: { base64: file }, replyTo: id });
  const { contextInfo } = (await alice.receivesId(reply)).message.stickerMessage;
  assert.equal(contextInfo.stanzaId, id);
  assert.equal(contextInfo.quotedMessage.imageMessage.caption, 'mine');

  for (const bare of [false, true]) {
    const picture = await carol.sendBody({ to, image: { base64: file, caption: 'before' } });
    await alice.receivesId(picture);
    await carol.sendBody({ to, edit: { messageId: picture, text: 'after', bare } });
    const { message } = await alice.changed(picture, ({ message }) => message?.editedMessage);
    assert.equal(message.editedMessage.message.imageMessage.caption, 'after');
    await carol.sendBody({ to, delete: { messageId: picture } });
    const { messageStubType } = await alice.changed(picture, (update) => update.messageStubType);
    assert.equal(messageStubType, proto.WebMessageInfo.StubType.REVOKE);
  }
});
