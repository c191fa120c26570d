// A program as they were written for WILDCAT 2.0, with axios and form-data, through every endpoint;
// what it sends is looked at on the phone of whom it reached.

import assert from 'node:assert/strict';
import { createReadStream, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import FormData from 'form-data';

import { jpeg, mp4, noise, opus, pdf, png, sha256, webp } from './files.mjs';
import { Phone, createGroup } from './simulator.mjs';
import { Receiver, Wildcat } from './wildcat.mjs';

const options = { timeout: 40_000 };

const own = new Phone('15550900001');
const bob = new Phone('15550900002');
const carol = new Phone('15550900003');
const FIXTURES = new URL('../fixtures/media/', import.meta.url).pathname;
const ACCOUNT = '/accounts/mybot';
const JID_WORDS =
  'Invalid WhatsApp JID format for "to" field. ' +
  'Expected format: 1234567890@s.whatsapp.net or 123456789@g.us';

let wildcat;
let api;
/** Hears messages only, as hooks do that name no events; and everything. */
let messages;
let everything;

before(async () => {
  await Promise.all([bob.create('Bob'), carol.create('Carol')]);
  wildcat = await Wildcat.start();
  ({ api } = wildcat);
}, options);

after(async () => {
  messages?.stop();
  everything?.stop();
  assert.equal(await wildcat.stop(), 0);
}, options);

/** The fields of a success: at the top level and under `data`, the same. */
function fields({ status, data, headers }, expected = 200) {
  assert.equal(status, expected);
  assert.match(headers['content-type'], /^application\/json/);
  const { ok, data: under, ...top } = data;
  assert.equal(ok, true);
  assert.deepEqual(under, top);
  return top;
}

/** A refusal: its status and words, and what else it says. */
async function refused(request, status, words) {
  const error = await request.then(
    ({ data }) => assert.fail(`not refused: ${JSON.stringify(data)}`),
    (error) => error,
  );
  assert.ok(error.response, `no answer: ${error}`);
  assert.equal(error.response.status, status, JSON.stringify(error.response.data));
  const { ok, error: said, ...more } = error.response.data;
  assert.equal(ok, false);
  if (words instanceof RegExp) assert.match(said, words);
  else assert.equal(said, words);
  return { ...more, headers: error.response.headers };
}

/** The answer to something sent: its id. */
function sentId(response) {
  const { messageId, timestamp } = fields(response);
  assert.match(messageId, /^3EB0[0-9A-F]+$/);
  assert.ok(Number.isInteger(timestamp) && Math.abs(Date.now() - timestamp) < 60_000);
  return messageId;
}

const post = (path, body) => api.post(`${ACCOUNT}/message/${path}`, body);
const upload = (kind, form) =>
  api.post(`${ACCOUNT}/message/send/${kind}`, form, { headers: form.getHeaders() });
const message = async (id) => fields(await api.get(`${ACCOUNT}/messages/${id}`)).message;

test('ping, and paths that do not exist', options, async () => {
  const { pong, time } = fields(await api.get('/ping'));
  assert.equal(pong, true);
  assert.equal(new Date(time).toISOString(), time);
  await refused(api.get('/nothing'), 404, /.+/);
  const { headers } = await refused(api.patch('/ping', {}), 405, /.+/);
  assert.match(headers.allow, /GET/);
});

test('webhooks are registered', options, async () => {
  messages = await Receiver.start();
  const { url } = messages;
  const registered = fields(await api.post('/webhooks', { url }), 201);
  assert.deepEqual([registered.url, registered.created], [url, true]);
  assert.equal(fields(await api.post('/webhooks', { url })).created, false);
  everything = await wildcat.subscribe();

  await refused(api.post('/webhooks', {}), 400, 'url is required and must be a string');
  await refused(api.post('/webhooks', { url: 5 }), 400, 'url is required and must be a string');
  await refused(api.post('/webhooks', { url: 'no url' }), 400, 'invalid URL');
  const ftp = api.post('/webhooks', { url: 'ftp://localhost/' });
  await refused(ftp, 400, 'only http/https URLs are allowed');

  const { webhooks } = fields(await api.get('/webhooks'));
  assert.deepEqual(
    webhooks.map((hook) => hook.url),
    [url, everything.url],
  );
  fields(await api.post(`/webhooks/${registered.id}/test`));
  const index = messages.events.findIndex(({ event }) => event === 'ping');
  assert.match(messages.headers[index]['user-agent'], /^wildcat\//);

  const more = await Receiver.start();
  fields(await api.post('/webhooks', { url: more.url }), 201);
  fields(await api.delete('/webhooks', { params: { url: more.url } }));
  await refused(api.delete('/webhooks', { params: { url: more.url } }), 404, 'Webhook not found');
  more.stop();
});

test('an account is made and paired', options, async () => {
  await refused(api.post('/accounts', {}), 400, 'id is required');
  await refused(api.get(ACCOUNT), 404, 'Account not found');
  await refused(api.get(`${ACCOUNT}/status`), 404, 'Account not found');
  const body = { id: 'mybot', name: 'My bot' };
  const { account } = fields(await api.post('/accounts', body), 201);
  assert.deepEqual(
    [account._id, account.id, account.name, account.collectionName, account.status],
    ['mybot', 'mybot', 'My bot', 'auth_mybot', 'connecting'],
  );
  await refused(api.post('/accounts', body), 400, 'Account already exists');
  const unpaired = post('send', { to: bob.jid, message: 'too early' });
  assert.equal((await refused(unpaired, 400, 'Account not connected')).status, 'connecting');

  const shown = await everything.until('a QR code', ({ event }) => event === 'account.qr');
  const waiting = fields(await api.get(`${ACCOUNT}/status`));
  assert.deepEqual(
    [waiting.accountId, waiting.status, waiting.hasQR, waiting.qr],
    ['mybot', 'connecting', true, shown.qr],
  );
  const { data: png } = await api.get(`${ACCOUNT}/qr`, {
    params: { format: 'png' },
    responseType: 'arraybuffer',
  });
  assert.equal(png.subarray(1, 4).toString(), 'PNG');
  await own.scanQr(waiting.qr);
  await everything.until('the connection', ({ status }) => status === 'connected');

  const status = fields(await api.get(`${ACCOUNT}/status`));
  assert.deepEqual(
    [status.status, status.qr, status.hasQR, status.jid, status.lastError],
    ['connected', null, false, own.jid, null],
  );
  assert.equal((await refused(api.get(`${ACCOUNT}/qr`), 404, /.+/)).status, 'connected');
  const { accounts } = fields(await api.get('/accounts'));
  assert.deepEqual(
    accounts.map(({ id, currentStatus, jid }) => [id, currentStatus, jid]),
    [['mybot', 'connected', own.jid]],
  );
  const one = fields(await api.get(ACCOUNT)).account;
  assert.equal(one.jid, own.jid);
  assert.equal(new Date(one.createdAt).toISOString(), one.createdAt);
});

test('texts are sent', options, async () => {
  const text = 'Hello! 🐱\nÜber zwei Zeilen, "quoted" \\ and 日本語';
  for (const to of [bob.jid, `+${bob.number}`, '+1 (555) 090-0002', `${bob.number}@c.us`]) {
    const id = sentId(await post('send', { to, message: text }));
    const got = await bob.receivesId(id);
    assert.deepEqual([got.type, got.text, got.chat, got.fromMe], ['text', text, own.jid, false]);
    await everything.about('message.sent', id);
  }
  const mentions = [carol.jid];
  const mention = sentId(await post('send', { to: bob.jid, message: 'hi @15550900003', mentions }));
  assert.equal((await bob.receivesId(mention)).mentions.length, 1);
  const longest = 'ü'.repeat(65_536);
  const long = sentId(await post('send', { to: bob.jid, message: longest }));
  assert.equal((await bob.receivesId(long)).text, longest);

  for (const body of [{}, { to: bob.jid }, { message: 'x' }]) {
    await refused(post('send', body), 400, 'to and message are required');
  }
  const length = 'Message length invalid. Must be between 1 and 65536 characters';
  await refused(post('send', { to: bob.jid, message: '' }), 400, length);
  await refused(post('send', { to: bob.jid, message: `${longest}x` }), 400, length);
  await refused(post('send', { to: 'bob', message: 'x' }), 400, JID_WORDS);
  await refused(post('send', { to: bob.jid, message: { x: 1 } }), 400, /message/);
  const nobody = api.post('/accounts/nobody/message/send', { to: bob.jid, message: 'x' });
  await refused(nobody, 404, 'Account not found');
  const headers = { 'Content-Type': 'application/json' };
  await refused(api.post(`${ACCOUNT}/message/send`, '{"to":', { headers }), 400, /JSON/);
});

test('what becomes of a text', options, async () => {
  const id = sentId(await post('send', { to: bob.jid, message: 'read me' }));
  await bob.receivesId(id);
  await everything.about('message.status', id, ({ status }) => status === 'delivered');
  await bob.read(own.jid);
  await everything.about('message.status', id, ({ status }) => status === 'read');
  assert.equal((await message(id)).status, 'read');
});

/** A file on the disk, as programs stream it. */
function onDisk(name, bytes) {
  const path = join(mkdtempSync(join(tmpdir(), 'program-')), name);
  writeFileSync(path, bytes);
  return path;
}

/** Sees to it that a file has arrived as it was, and is shown and served by the server. */
async function arrived(id, bytes, expected) {
  const got = await bob.receivesId(id);
  assert.equal(got.type, expected.kind ?? expected.type);
  assert.equal(got.text, expected.caption);
  assert.equal(got.media.error, undefined);
  assert.equal(got.media.sha256, sha256(bytes));
  assert.ok((await bob.file(id)).equals(bytes));
  for (const [key, value] of Object.entries(expected.media ?? {})) {
    assert.equal(got.media[key], value, key);
  }
  const shown = await message(id);
  assert.deepEqual(
    [shown.type, shown.caption, shown.hasMedia, shown.mediaSize, shown.mediaUrl, shown.fromMe],
    [
      ...[expected.type, expected.caption ?? null, true, bytes.length],
      ...[`${ACCOUNT}/messages/${id}/media?mediaId=${shown.mediaId}`, true],
    ],
  );
  const { data } = await api.get(shown.mediaUrl, { responseType: 'arraybuffer' });
  assert.ok(data.equals(bytes));
  return { got, shown };
}

test('an image is sent, from a stream', options, async () => {
  const bytes = png(96, 64, 'out');
  const form = new FormData();
  form.append('to', bob.jid);
  form.append('caption', 'Schöne Grüße 🌄');
  form.append('image', createReadStream(onDisk('photo.png', bytes)));
  const id = sentId(await upload('image', form));
  await arrived(id, bytes, {
    type: 'image',
    caption: 'Schöne Grüße 🌄',
    media: { mimetype: 'image/png', width: 96, height: 64, thumbnail: true },
  });
});

test('an image is sent, from a buffer, the recipient last', options, async () => {
  const bytes = jpeg(64, 48, 'out');
  const form = new FormData();
  form.append('image', bytes, { filename: 'photo.jpg', contentType: 'image/jpeg' });
  form.append('to', bob.number);
  const headers = { ...form.getHeaders(), 'Content-Length': form.getLengthSync() };
  // As one buffer, too: some programs do so for the length.
  const response = await api.post(`${ACCOUNT}/message/send/image`, form.getBuffer(), { headers });
  await arrived(sentId(response), bytes, {
    type: 'image',
    media: { mimetype: 'image/jpeg', width: 64, height: 48, thumbnail: true },
  });
});

test('a video is sent', options, async () => {
  const bytes = mp4(320, 240, 3, 'out');
  const form = new FormData();
  form.append('video', createReadStream(onDisk('clip.mp4', bytes)));
  form.append('to', bob.jid);
  form.append('caption', 'a clip');
  form.append('gifPlayback', 'true');
  const id = sentId(await upload('video', form));
  await arrived(id, bytes, {
    type: 'video',
    caption: 'a clip',
    media: { mimetype: 'video/mp4', width: 320, height: 240, seconds: 3, animated: true },
  });
});

test('audio is sent, as a file and as a voice note', options, async () => {
  for (const [ptt, type] of [
    ['true', 'voice'],
    ['false', 'audio'],
  ]) {
    const bytes = opus(2, type);
    const form = new FormData();
    form.append('to', bob.jid);
    form.append('ptt', ptt);
    form.append('audio', bytes, { filename: 'note.ogg', contentType: 'audio/ogg; codecs=opus' });
    const id = sentId(await upload('audio', form));
    await arrived(id, bytes, {
      type,
      kind: 'audio',
      media: { ptt: ptt === 'true', waveform: ptt === 'true', seconds: 2 },
    });
  }
});

test('sound of every usual kind becomes a voice note', options, async () => {
  for (const name of ['tone.mp3', 'tone.m4a', 'tone.aac', 'tone.wav', 'tone.flac', 'tone.ogg']) {
    const form = new FormData();
    form.append('to', bob.jid);
    form.append('ptt', 'true');
    form.append('audio', createReadStream(join(FIXTURES, name)));
    const id = sentId(await upload('audio', form));
    const { media } = await bob.receivesId(id);
    const { error, mimetype, ptt, waveform, seconds } = media;
    assert.deepEqual(
      [error, mimetype, ptt, waveform, seconds],
      [undefined, 'audio/ogg; codecs=opus', true, true, 1],
      name,
    );
    const file = await bob.file(id);
    assert.equal(file.subarray(0, 4).toString(), 'OggS', name);
    assert.ok(file.includes('OpusHead'), name);
    const { mediaUrl, mediaMimetype } = await message(id);
    assert.equal(mediaMimetype, mimetype);
    const { data } = await api.get(mediaUrl, { responseType: 'arraybuffer' });
    assert.ok(data.equals(file), name);
  }
});

test('documents are sent, under names of every kind', options, async () => {
  const name = 'Übersicht für März – 猫 (1).pdf';
  const bytes = pdf('out');
  const form = new FormData();
  form.append('to', bob.jid);
  form.append('document', createReadStream(onDisk(name, bytes)));
  form.append('caption', 'Bitte prüfen 📄');
  const id = sentId(await upload('document', form));
  const { shown } = await arrived(id, bytes, {
    type: 'document',
    caption: 'Bitte prüfen 📄',
    media: { mimetype: 'application/pdf', fileName: name },
  });
  assert.equal(shown.mediaFileName, name);

  const named = new FormData();
  named.append('document', bytes, { filename: 'blob' });
  named.append('fileName', 'Rechnung "Nr. 7".pdf');
  named.append('to', bob.jid);
  const other = sentId(await upload('document', named));
  await arrived(other, bytes, {
    type: 'document',
    media: { fileName: 'Rechnung "Nr. 7".pdf' },
  });
});

test('files are sent as JSON, and stickers', options, async () => {
  const bytes = pdf('json');
  const base64 = bytes.toString('base64');
  const body = { to: bob.jid, base64, fileName: 'a.pdf', mimetype: 'application/pdf' };
  const id = sentId(await post('send/document', body));
  await arrived(id, bytes, { type: 'document', media: { fileName: 'a.pdf' } });

  const web = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
  await new Promise((resolve) => web.once('listening', resolve));
  const url = `http://127.0.0.1:${web.address().port}/files/b.pdf`;
  const fetched = sentId(await post('send/document', { to: bob.jid, url }));
  web.close();
  await arrived(fetched, bytes, { type: 'document', media: { fileName: 'b.pdf' } });

  const form = new FormData();
  form.append('to', bob.jid);
  form.append('sticker', webp(), { filename: 's.webp' });
  const sticker = sentId(await upload('sticker', form));
  const media = { mimetype: 'image/webp', width: 512, height: 512, animated: false };
  await arrived(sticker, webp(), { type: 'sticker', media });
});

test('files that cannot be sent are refused', options, async () => {
  for (const kind of ['image', 'video', 'audio', 'document']) {
    const fileless = new FormData();
    fileless.append('to', bob.jid);
    await refused(upload(kind, fileless), 400, `${kind} file is required`);
    const nowhere = new FormData();
    nowhere.append(kind, noise(1000), { filename: 'a.bin' });
    await refused(upload(kind, nowhere), 400, 'to field is required');
    const wrong = new FormData();
    wrong.append('to', 'bob');
    wrong.append(kind, noise(1000), { filename: 'a.bin' });
    await refused(upload(kind, wrong), 400, JID_WORDS);
  }
  // What a file is, its bytes say, not its name.
  for (const [kind, name, bytes, words] of [
    ['image', 'a.png', pdf('no image'), /image/],
    ['image', 'a.jpg', opus(1, 'no image'), /image/],
    ['video', 'a.mp4', png(8, 8, 'no video'), /video/],
    ['audio', 'a.ogg', png(8, 8, 'no audio'), /audio/],
    ['sticker', 'a.webp', pdf('no sticker'), /sticker/],
    ['image', 'a.png', Buffer.alloc(0), /empty/],
  ]) {
    const form = new FormData();
    form.append('to', bob.jid);
    form.append(kind, bytes, { filename: name });
    await refused(upload(kind, form), 400, words);
  }
  const large = new FormData();
  large.append('to', bob.jid);
  large.append('document', Buffer.alloc(52_428_801), { filename: 'large.bin' });
  // The server need not swallow it all: a connection that breaks is an answer, too.
  const told = upload('document', large).then(
    () => assert.fail('52,428,801 bytes were taken'),
    ({ response, code }) => response?.status ?? code,
  );
  assert.ok([413, 'ECONNRESET', 'EPIPE'].includes(await told));
});

test('replies, reactions, deletions', options, async () => {
  const question = await bob.send(own.number, 'what time is it?');
  await messages.about('message', question);
  const reply = { to: bob.jid, message: 'noon', quotedMessageId: question };
  const answer = sentId(await post('reply', reply));
  const got = await bob.receivesId(answer);
  assert.deepEqual([got.text, got.quotedId, got.quoted.text], ['noon', question, 'what time is it?']);
  assert.equal((await message(answer)).quotedMessage.messageId, question);
  await refused(
    post('reply', { to: bob.jid, message: 'x' }),
    400,
    'to, message, and quotedMessageId are required',
  );
  await refused(post('reply', { ...reply, quotedMessageId: 'NONE' }), 404, 'Quoted message not found');

  const form = new FormData();
  form.append('to', bob.jid);
  form.append('quotedMessageId', question);
  form.append('document', pdf('reply'), { filename: 'clock.pdf' });
  assert.equal((await bob.receivesId(sentId(await upload('document', form)))).quotedId, question);

  const from = (chat) => ({ ...chat, messageId: question });
  for (const [chat, emoji] of [
    [{ to: bob.jid }, '👍'],
    [{ chatId: bob.jid }, '❤️'],
    [{ chatId: bob.jid }, ''],
  ]) {
    const response = await post('react', { ...from(chat), emoji });
    assert.equal(response.data.message, 'Reaction sent');
    const reaction = await bob.receivesId(response.data.messageId);
    assert.deepEqual([reaction.type, reaction.reactionTo], ['reaction', question]);
    assert.equal(reaction.text ?? '', emoji);
    const { reactions } = await message(question);
    assert.deepEqual(
      reactions.map((reaction) => [reaction.from, reaction.emoji]),
      emoji ? [[own.jid, emoji]] : [],
    );
  }
  const none = { to: bob.jid, messageId: 'NONE', emoji: 'x' };
  await refused(post('react', none), 404, 'Message not found');
  await refused(post('react', { to: bob.jid }), 400, 'chatId and messageId are required');

  const { data } = await post('delete', { chatId: bob.jid, messageId: answer });
  assert.equal(data.message, 'Message deleted');
  const deletion = await bob.receivesId(data.messageId);
  assert.deepEqual([deletion.type, deletion.deleteOf], ['delete', answer]);
  const gone = await message(answer);
  assert.deepEqual([gone.deleted, gone.text], [true, null]);
  await refused(post('delete', { messageId: answer }), 400, 'chatId and messageId are required');
  await refused(post('delete', none), 404, 'Message not found');
});

test('a text comes in, at the webhook and in the chat', options, async () => {
  const id = await bob.sendBody({ to: own.number, text: 'Grüß dich 🐈', forwarded: true });
  const event = await messages.about('message', id);
  assert.ok(Number.isInteger(event.timestamp));
  assert.equal(new Date(event.createdAt).toISOString(), event.createdAt);
  const { event: name, eventId, ...shown } = event;
  assert.equal(name, 'message');
  assert.ok(eventId);
  assert.deepEqual(await message(id), shown);
  const { timestamp, createdAt, chatLid, senderLid, ...rest } = shown;
  assert.deepEqual(rest, {
    accountId: 'mybot',
    messageId: id,
    chatId: bob.jid,
    chatName: 'Bob',
    from: bob.jid,
    sender: bob.jid,
    senderName: null,
    senderUsername: null,
    fromMe: false,
    pushName: 'Bob',
    type: 'text',
    text: 'Grüß dich 🐈',
    caption: null,
    hasMedia: false,
    mediaId: null,
    mediaUrl: null,
    mediaType: null,
    mediaMimetype: null,
    mediaSize: null,
    mediaFileName: null,
    quotedMessage: null,
    mentions: [],
    reactions: [],
    isForwarded: true,
    forwardingScore: 1,
    edited: false,
    deleted: false,
    status: null,
  });
  const index = messages.events.indexOf(event);
  const headers = messages.headers[index];
  assert.match(headers['content-type'], /^application\/json/);
  assert.ok(headers['content-length'] && headers['webhook-id'] && headers['webhook-timestamp']);
  assert.equal(headers['transfer-encoding'], undefined);
  // Nothing but messages came to the hook that named no events.
  const kinds = new Set(messages.events.map(({ event }) => event));
  assert.deepEqual([...kinds].sort(), ['message', 'ping']);
});

test('files come in, and are downloaded', options, async () => {
  const name = 'Anhang – 資料.pdf';
  for (const [kind, type, bytes, more] of [
    ['image', 'image', jpeg(32, 32, 'in'), { caption: 'see', mimetype: 'image/jpeg' }],
    ['video', 'video', mp4(160, 120, 1, 'in'), { mimetype: 'video/mp4' }],
    ['audio', 'voice', opus(1, 'in'), { ptt: true, mimetype: 'audio/ogg; codecs=opus' }],
    ['document', 'document', pdf('in'), { fileName: name, mimetype: 'application/pdf' }],
    ['sticker', 'sticker', webp(), { mimetype: 'image/webp' }],
  ]) {
    const base64 = bytes.toString('base64');
    const id = await bob.sendBody({ to: own.number, [kind]: { base64, ...more } });
    const event = await messages.about('message', id);
    assert.deepEqual(
      [event.type, event.hasMedia, event.mediaType, event.mediaMimetype, event.mediaSize],
      [type, true, kind, more.mimetype, bytes.length],
    );
    assert.deepEqual([event.caption, event.mediaFileName], [more.caption ?? null, more.fileName ?? null]);
    assert.equal(event.text, event.caption);

    const whole = await api.get(event.mediaUrl, { responseType: 'arraybuffer' });
    assert.ok(whole.data.equals(bytes));
    assert.equal(whole.headers['content-type'], more.mimetype);
    assert.equal(whole.headers['content-length'], String(bytes.length));
    assert.match(whole.headers['content-disposition'], /^inline; filename="/);

    const streamed = await api.get(event.mediaUrl, { responseType: 'stream' });
    const pieces = [];
    for await (const piece of streamed.data) pieces.push(piece);
    assert.ok(Buffer.concat(pieces).equals(bytes));

    const part = await api.get(`/media/${event.mediaId}`, {
      responseType: 'arraybuffer',
      headers: { Range: 'bytes=5-19' },
    });
    assert.equal(part.status, 206);
    assert.equal(part.headers['content-range'], `bytes 5-19/${bytes.length}`);
    assert.ok(part.data.equals(bytes.subarray(5, 20)));
    const same = await api.get(event.mediaUrl, {
      headers: { 'If-None-Match': whole.headers.etag },
      validateStatus: (status) => status === 304,
    });
    assert.equal(same.status, 304);

    const params = { accountId: 'mybot', messageId: id };
    const { media } = fields(await api.get('/media', { params }));
    assert.deepEqual(
      media.map(({ mediaId, chatId, mediaSize }) => [mediaId, chatId, mediaSize]),
      [[event.mediaId, bob.jid, bytes.length]],
    );
    if (kind === 'document') {
      const quoted = encodeURIComponent(name).replaceAll('(', '%28');
      assert.ok(whole.headers['content-disposition'].includes(`filename*=UTF-8''${quoted}`));
    }
  }
  const text = await bob.send(own.number, 'no file');
  await messages.about('message', text);
  await refused(api.get(`${ACCOUNT}/messages/${text}/media`), 404, 'No media in message');
  await refused(api.get(`${ACCOUNT}/messages/NONE/media`), 404, 'Message not found');
  await refused(api.get('/media/none'), 404, /.+/);
});

test('places, cards and polls come in, and what is not known', options, async () => {
  for (const [body, type] of [
    [{ location: { latitude: 52.5, longitude: 13.4, name: 'Berlin' } }, 'location'],
    [{ contact: { name: 'Dave', vcard: 'BEGIN:VCARD\nFN:Dave\nEND:VCARD' } }, 'contact'],
    [{ poll: { name: 'Lunch?', options: ['now', 'later'] } }, 'poll'],
    [{ unknown: true }, 'unknown'],
  ]) {
    const id = await bob.sendBody({ to: own.number, ...body });
    assert.equal((await messages.about('message', id)).type, type);
  }
});

test('what others do to messages', options, async () => {
  const to = own.number;
  const mine = sentId(await post('send', { to: bob.jid, message: 'mine' }));
  await bob.receivesId(mine);
  const reply = await bob.sendBody({ to, text: 'yours?', replyTo: mine, mentions: [own.number] });
  const { quotedMessage, mentions } = await messages.about('message', reply);
  assert.deepEqual(quotedMessage, {
    messageId: mine,
    participant: own.jid,
    text: 'mine',
    hasMedia: false,
  });
  assert.deepEqual(mentions, [own.jid]);

  await bob.sendBody({ to, react: { messageId: mine, emoji: '🎉' } });
  const reaction = await everything.about('message.reaction', mine);
  assert.deepEqual([reaction.emoji, reaction.sender, reaction.from], ['🎉', bob.jid, bob.jid]);
  await bob.sendBody({ to, edit: { messageId: reply, text: 'yours!' } });
  assert.equal((await everything.about('message.edited', reply)).text, 'yours!');
  const edited = await message(reply);
  assert.deepEqual([edited.text, edited.edited], ['yours!', true]);
  await bob.sendBody({ to, delete: { messageId: reply } });
  await everything.about('message.deleted', reply);
  assert.equal((await message(reply)).deleted, true);
});

test('chats and their messages, page by page', options, async () => {
  const ids = [];
  for (let n = 0; n < 7; n++) {
    ids.unshift(await carol.send(own.number, `number ${n}`));
    await messages.about('message', ids[0]);
  }
  const { chats, pagination } = fields(await api.get(`${ACCOUNT}/chats`));
  assert.equal(pagination.total, 2);
  const [chat] = chats;
  assert.deepEqual(
    [chat.chatId, chat.name, chat.unreadCount, chat.messageCount, chat.lastMessage.messageId],
    [carol.jid, 'Carol', 7, 7, ids[0]],
  );
  const { lastMessage } = chat;
  assert.deepEqual(
    [lastMessage.text, lastMessage.type, lastMessage.fromMe, lastMessage.timestamp],
    ['number 6', 'text', false, chat.lastMessageTime],
  );
  const second = fields(await api.get(`${ACCOUNT}/chats`, { params: { limit: 1, skip: 1 } }));
  assert.deepEqual(
    second.chats.map(({ chatId }) => chatId),
    [bob.jid],
  );

  const list = `${ACCOUNT}/chats/${carol.jid}/messages`;
  const page = async (params, path = list) => {
    const answer = fields(await api.get(path, { params }));
    return [answer.messages.map(({ messageId }) => messageId), answer.pagination];
  };
  assert.deepEqual(await page({}), [ids, { total: 7, limit: 50, offset: 0, hasMore: false }]);
  const [some, where] = await page({ limit: 3 });
  assert.deepEqual([some, where.hasMore], [ids.slice(0, 3), true]);
  assert.deepEqual((await page({ limit: 3, skip: 3 }))[0], ids.slice(3, 6));
  assert.deepEqual((await page({ limit: 3, offset: 6 }))[0], ids.slice(6));
  const encoded = `${ACCOUNT}/chats/${encodeURIComponent(carol.jid)}/messages`;
  assert.deepEqual((await page({}, encoded))[0], ids);
  const { timestamp } = await message(ids[0]);
  assert.deepEqual((await page({ after: timestamp + 60_000 }))[0], []);
  assert.deepEqual((await page({ before: timestamp + 60_000 }))[0], ids);
  await refused(api.get(list, { params: { limit: 'many' } }), 400, /limit/);
  await refused(api.get(`${ACCOUNT}/messages/NONE`), 404, 'Message not found');
  await refused(api.get('/accounts/nobody/chats'), 404, 'Account not found');

  const [newest] = await page({ limit: 2, accountId: 'mybot' }, '/messages');
  assert.deepEqual(newest, ids.slice(0, 2));

  const read = fields(await api.post(`${ACCOUNT}/chats/${carol.jid}/read`));
  assert.ok(read.message);
  await carol.receiptFor(ids[0], 'read');
  const after = fields(await api.get(`${ACCOUNT}/chats`));
  assert.equal(after.chats[0].unreadCount, 0);
});

test('a group', options, async () => {
  const to = await createGroup('Friends', [carol.number, own.number, bob.number]);
  const hello = await carol.send(to, 'hello all');
  const event = await messages.about('message', hello);
  assert.deepEqual([event.from, event.sender, event.text], [to, carol.jid, 'hello all']);
  const answer = sentId(await post('send', { to, message: 'hello Carol' }));
  for (const phone of [bob, carol]) {
    const got = await phone.receivesId(answer);
    assert.deepEqual([got.text, got.chat], ['hello Carol', to]);
  }
  const reply = { to, chatId: to, message: 'I see', quotedMessageId: hello };
  assert.equal((await bob.receivesId(sentId(await post('reply', reply)))).quotedId, hello);
  const { data } = await post('react', { chatId: to, messageId: hello, emoji: '👋' });
  assert.equal((await carol.receivesId(data.messageId)).reactionTo, hello);
  const bytes = png(40, 40, 'group');
  const form = new FormData();
  form.append('to', to);
  form.append('image', bytes, { filename: 'all.png' });
  const image = sentId(await upload('image', form));
  for (const phone of [bob, carol]) {
    await phone.receivesId(image);
    assert.ok((await phone.file(image)).equals(bytes));
  }
  const deleted = await post('delete', { chatId: to, messageId: image });
  assert.equal((await bob.receivesId(deleted.data.messageId)).deleteOf, image);
  const { chats } = fields(await api.get(`${ACCOUNT}/chats`));
  assert.deepEqual([chats[0].chatId, chats[0].name], [to, 'Friends']);
});

test('disconnecting and connecting again', options, async () => {
  const gone = fields(await api.post(`${ACCOUNT}/disconnect`));
  assert.equal(gone.message, 'Account mybot disconnected');
  await own.deviceGone();
  const { status } = fields(await api.get(`${ACCOUNT}/status`));
  assert.equal(status, 'disconnected');
  const unsent = post('send', { to: bob.jid, message: 'x' });
  assert.equal((await refused(unsent, 400, 'Account not connected')).status, 'disconnected');

  const meanwhile = await bob.send(own.number, 'are you there?');
  const since = everything.events.length;
  const back = fields(await api.post(`${ACCOUNT}/connect`));
  assert.deepEqual([back.accountId, back.message], ['mybot', 'Attempting to connect mybot']);
  await messages.about('message', meanwhile);
  await everything.until(
    'the connection',
    (event) => event.status === 'connected' && everything.events.indexOf(event) >= since,
  );
  await bob.receivesId(sentId(await post('send', { to: bob.jid, message: 'back' })));
  // Harmless when it is connected.
  fields(await api.post(`${ACCOUNT}/connect`));
});

test('an account is deleted', options, async () => {
  const { message } = fields(await api.delete(ACCOUNT));
  assert.equal(message, 'Account mybot deleted');
  await own.deviceGone();
  const { devices } = await own.get();
  assert.deepEqual(
    devices.map(({ device }) => device),
    [0],
    'the phone alone is left',
  );
  await refused(api.get(ACCOUNT), 404, 'Account not found');
  await refused(api.delete(ACCOUNT), 404, 'Account not found');
  await refused(api.get(`${ACCOUNT}/chats`), 404, 'Account not found');
  assert.deepEqual(fields(await api.get('/accounts')).accounts, []);
});

test('no more than so many messages a minute', options, async () => {
  const slow = await Wildcat.start({ WILDCAT_LIMITS_MESSAGES_PER_MINUTE: '2' });
  const phone = new Phone('15550900004');
  await slow.pair('slow', phone);
  const send = (message) => slow.api.post('/accounts/slow/message/send', { to: bob.jid, message });
  await send('one');
  await send('two');
  const { retryAfter, headers } = await refused(send('three'), 429, /.+/);
  assert.ok(retryAfter >= 1 && retryAfter <= 30);
  assert.equal(headers['retry-after'], String(retryAfter));
  assert.deepEqual(await bob.received('three'), []);
  assert.equal(await slow.stop(), 0);
});
