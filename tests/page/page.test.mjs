// What a person does with the page, in the order of a first evening with it.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';

import { DESKTOP, NARROW, PHONE, Wildcat, Window, chromium, phones, until } from './world.mjs';

const OWN = '4915123456789', ANNA = '4915100000002', MEHMET = '4915100000003', SHOP = '4915129876543';
const photo = readFileSync(new URL('../fixtures/media/photo.jpg', import.meta.url)).toString('base64');
const says = (number, body) => phones(`phones/${number}/messages`, { to: OWN, ...body });
const received = async (number, text) => until(async () => (await phones(`phones/${number}/messages`)).received.find((m) => m.text === text), text);
const chat = (number, account = 'home') => `#/chats/${account}/${number}%40s.whatsapp.net`;

let server, w;
before(async () => {
  server = await Wildcat.start();
  for (const [number, name] of [[OWN, 'Anna'], [ANNA, 'Anna Becker'], [MEHMET, 'Mehmet'], [SHOP, 'Shop']]) await phones('phones', { number, name });
});
after(async () => {
  await server.down();
  await (await chromium()).close();
});

test('a browser elsewhere is told how to make a key, and no password is asked for', async () => {
  const there = await Window.open(server.base, { remote: true, size: PHONE });
  await there.sees('Let this browser in');
  await there.sees('sudo wildcat key add phone');
  await there.sees('This page came unencrypted');
  await there.shot('phone-first-visit');
  // The page itself needs no key; everything else does.
  for (const [path, status] of [['/', 200], ['/web/page.js', 200], ['/web/style.css', 200], ['/web/icon.svg', 200], ['/server', 200], ['/accounts', 401], ['/keys', 401], ['/health', 401], ['/events', 401]]) {
    const answer = await fetch(server.base + path, { headers: { 'X-Forwarded-For': '192.168.1.9' } });
    assert.equal(answer.status, status, path);
    assert.equal(answer.headers.get('WWW-Authenticate'), null, path);
    const text = await answer.text();
    if (path === '/server') assert.deepEqual(Object.keys(JSON.parse(text).data).sort(), ['hasKeys', 'local', 'open', 'sandbox']);
  }
  assert.deepEqual(await there.findings(), []);
  await there.close();
});

test('on the machine itself the page opens, and says that it is closed to others', async () => {
  w = await Window.open(server.base);
  await w.sees('No account yet');
  assert.deepEqual(await w.findings(), []);
});

test('an account is added and linked by its QR code', async () => {
  await w.click('Add an account');
  await w.page.waitForSelector('dialog input');
  await w.page.keyboard.type('Home');
  await w.page.keyboard.press('Enter');
  await w.sees('Link a phone');
  await w.sees('Next code in');
  await w.page.waitForSelector('.qr img');
  await w.shot('desktop-qr');
  assert.deepEqual(await w.findings(), []);
  const small = await Window.open(server.base, { size: PHONE, path: '#/accounts/home/link' });
  await small.click('QR code');
  await small.page.waitForSelector('.qr img');
  await small.shot('phone-qr');
  assert.deepEqual(await small.findings(), []);
  const { qr } = await server.api('GET', '/accounts/home/status');
  await phones(`mock-phone/scan-qr?number=${OWN}`, qr);
  await w.sees('Connected as');
  await small.sees('Connected as');
  await small.shot('phone-linked');
  await small.close();
  assert.deepEqual(await w.findings(), []);
  await w.click('Open the chats');
  await w.sees('No chats yet');
});

test('messages come in, are answered, and their ticks follow', async () => {
  await says(ANNA, { text: 'The long ladder leans on my shed. Sorry!' });
  await w.sees('The long ladder leans on my shed');
  await says(ANNA, { image: { base64: photo, caption: 'The first tomatoes!' } });
  await w.sees('The first tomatoes!');
  await w.go(chat(ANNA));
  await w.page.waitForSelector('.msg img');
  await w.type('.compose textarea', 'I can fetch it on Saturday');
  await w.page.keyboard.press('Enter');
  await received(ANNA, 'I can fetch it on Saturday');
  await w.page.waitForSelector('.msg.own .meta [title="delivered"]');
  // Opening a chat sends no read receipt.
  assert.equal((await server.api('GET', '/accounts/home/chats')).chats[0].unreadCount, 2);
  const { sent } = await phones(`phones/${ANNA}/messages`);
  assert.ok(!sent.some((m) => m.receipts.some((r) => r.kind === 'read')), 'a read receipt was sent');
  await phones(`phones/${ANNA}/read`, { chat: OWN });
  await w.page.waitForSelector('.msg.own .meta [title="read"]');
  assert.equal(await w.page.$$eval('.msg.own', (all) => all.length), 1);
});

test('a reply, a reaction, a deletion', async () => {
  await w.page.hover('.msg');
  await w.click('Reply', '.msg');
  await w.sees('Reply to');
  await w.type('.compose textarea', 'No hurry');
  await w.page.keyboard.press('Enter');
  const reply = await received(ANNA, 'No hurry');
  assert.equal(reply.quoted.text, 'The long ladder leans on my shed. Sorry!');
  await w.page.waitForSelector('.msg.own .quote');
  await w.click('React', '.msg');
  await w.click('👍', 'dialog');
  await w.page.waitForSelector('.mark');
  await until(async () => JSON.stringify(await phones(`phones/${ANNA}/messages`)).includes('👍'), 'the reaction');
  const own = (await server.api('GET', `/accounts/home/chats/${ANNA}@s.whatsapp.net/messages`)).messages.find((m) => m.text === 'I can fetch it on Saturday');
  await says(ANNA, { react: { messageId: own.messageId, emoji: '😍' } });
  await w.sees('😍');
  await until(async () => {
    await w.page.focus(`[data-id="${own.messageId}"]`);
    await w.page.keyboard.press('Delete');
    return w.page.$('.menu');
  }, 'the menu');
  await w.click('Delete', '.menu');
  await w.click('Delete for everyone', 'dialog');
  await w.sees('Deleted');
});

/** Opens the menu of the message with that text. */
async function messageMenu(text) {
  await w.sees(text);
  await until(async () => {
    await w.page.evaluate((words) => { const row = [...document.querySelectorAll('.msg')].find((m) => m.innerText.includes(words)); row?.focus(); row?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true })); }, text);
    return w.page.$('.menu');
  }, 'the menu');
}
const stored = async (text) => (await server.api('GET', `/accounts/home/messages?q=${encodeURIComponent(text)}`)).messages[0];

test('a message is changed, starred, pinned, forwarded, and deleted here alone', async () => {
  await w.type('.compose textarea', 'See you at fou');
  await w.page.keyboard.press('Enter');
  await received(ANNA, 'See you at fou');
  await until(async () => (await stored('See you at fou')).status !== 'pending', 'it to go');
  await messageMenu('See you at fou');
  await w.click('Edit', '.menu');
  await w.sees('Edit');
  assert.equal(await w.page.$eval('.compose textarea', (field) => field.value), 'See you at fou');
  await w.page.keyboard.type('r');
  await w.page.keyboard.press('Enter');
  await w.sees('See you at four');
  await w.sees('edited');
  await messageMenu('See you at four');
  await w.click('Star', '.menu');
  await w.sees('starred');
  await messageMenu('See you at four');
  await w.click('Pin', '.menu');
  await w.click('7 days', '.menu');
  await w.sees('pinned');
  await messageMenu('See you at four');
  await w.click('Forward', '.menu');
  await until(() => w.page.evaluate(() => { const row = [...document.querySelectorAll('.pick button')].find((one) => one.innerText.includes('Anna Becker')); row?.click(); return !!row; }), 'the chat to forward to');
  await until(async () => (await w.page.$$eval('.msg', (all) => all.filter((m) => m.innerText.includes('See you at four')).length)) === 2, 'the copy');
  await w.sees('Forwarded');
  const copy = await until(async () => { const m = await stored('See you at four'); return m.isForwarded && m.status !== 'pending' && m; }, 'the copy');
  await w.page.evaluate((id) => document.querySelector(`[data-id="${id}"]`).scrollIntoView(), copy.messageId);
  await w.page.focus(`[data-id="${copy.messageId}"]`);
  await w.page.keyboard.press('Delete');
  await w.click('Delete', '.menu');
  assert.deepEqual(await w.findings(), []);
  await w.click('Delete for me', 'dialog');
  await until(async () => !(await w.page.$(`[data-id="${copy.messageId}"]`)), 'its end');
});

test('polls are made and voted in by a click', async () => {
  await says(ANNA, { poll: { name: 'Tea or coffee?', options: ['Tea', 'Coffee'] } });
  await w.sees('Tea or coffee?');
  const choice = (option) => w.page.evaluateHandle((words) => [...document.querySelectorAll('.choice')].find((one) => one.innerText.includes(words)), option);
  await (await choice('Coffee')).click();
  await w.sees('1 has voted');
  assert.equal(await (await choice('Coffee')).evaluate((node) => node.getAttribute('aria-pressed')), 'true');
  await until(async () => JSON.stringify((await phones(`phones/${ANNA}/messages`)).received).includes('Coffee'), 'the vote');
  await (await choice('Tea')).click();
  await until(async () => (await choice('Tea')).evaluate((node) => node.getAttribute('aria-pressed') === 'true'), 'the other vote');
  await w.click('Attach');
  await w.click('Poll', '.menu');
  await w.page.waitForSelector('dialog textarea');
  await w.page.keyboard.type('Who brings the ladder?');
  await w.type('dialog textarea', 'Anna\nMe');
  assert.deepEqual(await w.findings(), []);
  await w.click('Send', 'dialog');
  await until(async () => (await phones(`phones/${ANNA}/messages`)).received.some((m) => m.poll?.name === 'Who brings the ladder?'), 'the poll');
});

test('a chat is pinned, muted, archived and marked, here and on the phone', async () => {
  const pick = async (...names) => { await w.click('More', 'main .top'); for (const name of names) await w.click(name, '.menu'); };
  const state = async (field, value) => until(async () => (await server.api('GET', '/accounts/home/chats?archived=false&limit=100')).chats.concat((await server.api('GET', '/accounts/home/chats?archived=true')).chats).find((c) => c.chatId.startsWith(ANNA))?.[field] === value, `${field} ${value}`);
  await pick('Pin');
  await state('pinned', true);
  await pick('Mute', 'For 8 hours');
  await state('muted', true);
  await w.sees('Muted');
  await pick('Disappearing messages', '7 days');
  await w.sees('Messages go after 7 days');
  await pick('Disappearing messages', 'Off');
  await w.loses('Messages go after 7 days');
  await pick('Archive');
  await state('archived', true);
  await until(() => w.page.$$eval('.rows .row[href]', (all) => !all.some((row) => row.innerText.includes('Anna Becker'))), 'a list without it');
  await w.click('Archived', '.chips');
  await until(() => w.page.$$eval('.rows .row[href]', (all) => all.some((row) => row.innerText.includes('Anna Becker'))), 'it among the archived');
  await phones(`phones/${OWN}/archive`, { chat: ANNA, archived: false });
  await w.click('All', '.chips');
  await until(() => w.page.$$eval('.rows .row[href]', (all) => all.some((row) => row.innerText.includes('Anna Becker'))), 'the list with it');
});

test('messages are searched in an account and in a chat, and a hit is opened where it stands', async () => {
  await phones('load', { from: MEHMET, to: OWN, count: 200, perSecond: 40, text: 'Row' });
  const first = await until(async () => { const { messages, pagination } = await server.api('GET', `/accounts/home/chats/${MEHMET}@s.whatsapp.net/messages?limit=1`).catch(() => ({ messages: [] })); return pagination?.total === 200 && messages[0]; }, '200 messages');
  assert.ok(first);
  await says(MEHMET, { text: 'The wheelbarrow is mended' });
  await w.sees('The wheelbarrow is mended');
  await w.page.focus('.find input');
  await w.page.keyboard.type('wheelbarrow');
  await w.page.waitForSelector('.found mark');
  assert.equal(await w.page.$eval('.found mark', (mark) => mark.innerText), 'wheelbarrow');
  assert.deepEqual(await w.findings(), []);
  await w.shot('desktop-search');
  await w.page.keyboard.press('ArrowDown');
  await w.page.keyboard.press('Enter');
  await w.page.waitForSelector('.msg.found');
  const { messages: oldest } = await server.api('GET', `/accounts/home/chats/${MEHMET}@s.whatsapp.net/messages?limit=3&skip=190`);
  await w.go(`${chat(MEHMET)}/${oldest[0].messageId}`);
  await until(() => w.page.evaluate((id) => { const box = document.querySelector(`[data-id="${id}"]`)?.getBoundingClientRect(); return box && box.top > 0 && box.bottom < innerHeight; }, oldest[0].messageId), 'the old message in view');
  // From there one reads on to the newest.
  await until(() => w.page.evaluate(() => { const talk = document.querySelector('.talk'); talk.scrollTop = talk.scrollHeight; return talk.innerText.includes('The wheelbarrow is mended'); }), 'the newest');
  const ids = await w.page.$$eval('.msg', (all) => all.map((m) => m.dataset.id));
  assert.equal(new Set(ids).size, ids.length, 'a message is drawn twice');
  await w.click('Search in this chat');
  await w.page.keyboard.type('mended');
  await w.page.waitForSelector('dialog .row');
  await w.page.keyboard.press('Escape');
  await w.page.$eval('.find input', (input) => { input.value = ''; input.dispatchEvent(new Event('input')); });
  await w.go(chat(ANNA));
  await w.sees('No hurry');
});

test('a group shows its members, what happens to it, and that only admins write', async () => {
  const { jid } = await phones('groups', { subject: 'Allotment garden', members: [ANNA, OWN, MEHMET] });
  await phones(`phones/${ANNA}/messages`, { to: jid, text: 'Who has the long ladder?' });
  await w.open('Allotment garden');
  await w.sees('Who has the long ladder?');
  await w.sees('Group, 3 people');
  await phones(`phones/${ANNA}/messages`, { to: jid, poll: { name: 'Saturday?', options: ['Yes', 'No'] } });
  await w.sees('Saturday?');
  await w.click('Yes', '.poll');
  await w.sees('1 of 3 have voted');
  await w.click('Members', 'main .top');
  await w.page.waitForSelector('dialog .person');
  assert.deepEqual(await w.findings(), []);
  assert.match(await w.page.$eval('dialog', (box) => box.innerText), /Anna Becker[\s\S]*(owner|admin)/);
  await w.click('Close', 'dialog');
  await phones(`groups/${jid}`, { by: ANNA, announcement: true });
  await w.sees('Only admins write here.');
  await w.go(chat(ANNA));
  await w.sees('No hurry');
});

test('files go out and come in', async () => {
  const path = join(tmpdir(), 'Watering plan.pdf');
  writeFileSync(path, '%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n');
  const input = await w.page.$('input[type=file]');
  await input.uploadFile(path);
  await w.sees('Watering plan.pdf');
  await w.click('Send');
  await until(async () => (await phones(`phones/${ANNA}/messages`)).received.some((m) => m.media?.fileName === 'Watering plan.pdf'), 'the file');
  await until(async () => (await w.page.$$('.msg .doc')).length === 1, 'one document');
  await says(ANNA, { poll: { name: 'When do we mend the fence?', options: ['Saturday', 'Sunday'] } });
  await w.sees('When do we mend the fence?');
  await says(ANNA, { location: { latitude: 52.5, longitude: 13.4, name: 'The allotment' } });
  await w.sees('The allotment');
  await w.sees('Open a map');
  await w.shot('desktop-chat');
  assert.deepEqual(await w.findings(), []);
});

test('the same from a shell', async () => {
  await w.type('.compose textarea', "It's here");
  await w.sees(`-d '{"to":"${ANNA}@s.whatsapp.net","message":"It'\\''s here"}'`);
  await w.page.keyboard.press('Enter');
  await w.sees('The last request');
  await w.sees('200 in');
});

test('the simulated phone beside the page writes to it and reads what it sends', async () => {
  const beside = await Window.open(server.base, { phone: true, path: '#/chats/home' });
  const frame = await until(() => beside.page.frames().find((one) => one.url().endsWith('/phone.html')), 'the phone');
  await frame.waitForSelector('.compose textarea');
  await frame.type('.compose textarea', 'Mind the step');
  await frame.page().keyboard.press('Enter');
  await beside.sees('Mind the step');
  await beside.open('Mind the step');
  await beside.type('.compose textarea:not([placeholder=Text])', 'I do');
  await beside.page.keyboard.press('Enter');
  await beside.page.waitForSelector('.msg.own .meta [title="read"]');
  await beside.shot('desktop-sandbox');
  assert.deepEqual(await beside.findings(), []);
  // Only what the phone needs is passed on.
  for (const path of ['faults', 'stanzas', 'phones/..%2Ffaults']) assert.equal((await fetch(`${server.base}/sandbox/${path}`)).status, 404, path);
  await beside.close();
});

test('below a base path of a proxy it is the same', async () => {
  const prefix = '/api/hassio_ingress/x1', strangers = [];
  const proxy = createServer((request, response) => {
    if (!request.url.startsWith(`${prefix}/`)) { strangers.push(request.url); response.writeHead(404).end(); return; }
    const to = ask(server.base + request.url.slice(prefix.length), { method: request.method, headers: request.headers }, (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
    to.on('error', () => response.destroy());
    response.on('close', () => to.destroy());
    request.pipe(to);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const base = `http://127.0.0.1:${proxy.address().port}`, below = await Window.open(base, { path: `${prefix.slice(1)}/${chat(ANNA)}` });
  await below.sees('No hurry');
  await says(ANNA, { image: { base64: photo, caption: 'Seen from below' } });
  await below.page.waitForSelector('.msg img');
  await below.type('.compose textarea', 'From below');
  await below.sees(`curl ${base}${prefix}/accounts/home/message/send`);
  await below.page.keyboard.press('Enter');
  await received(ANNA, 'From below');
  for (const place of ['accounts', 'webhooks', 'keys', 'server', 'settings']) { await below.go(`#/${place}`); await below.page.waitForSelector('main h1'); }
  await says(ANNA, { text: 'And back' });
  await below.go('#/chats/home');
  await below.sees('And back');
  await below.close();
  assert.deepEqual(strangers, [], 'what was asked beside the path');
  proxy.closeAllConnections();
  proxy.close();
});

test('when all places of live readers are taken the page looks by itself, and takes one that is free', async () => {
  const before = server.memory(), streams = [];
  const take = async () => {
    for (;;) {
      const stop = new AbortController(), answer = await fetch(`${server.base}/events?after=latest`, { headers: { Accept: 'text/event-stream' }, signal: stop.signal });
      if (answer.status !== 200) return;
      // Held, so that it is not collected and closed.
      streams.push({ stop, answer });
      assert.ok(streams.length <= 16);
    }
  };
  await take();
  const after = server.memory(), last = await Window.open(server.base, { path: '#/chats/home' });
  // Places of windows that were closed just now come free late.
  await until(async () => { await last.sees('Home'); if ((await last.text()).includes('Live updates are taken (16)')) return true; await take(); await last.page.reload(); return false; }, 'the notice');
  await says(ANNA, { text: 'Do you look?' });
  await last.sees('Do you look?');
  assert.deepEqual(await last.findings(), []);
  for (const { stop } of streams) stop.abort();
  await last.loses('Live updates are taken (16)');
  await says(ANNA, { text: 'You do' });
  await last.sees('You do');
  await last.close();
  console.log(`${streams.length} open pages' streams: ${after - before} kB more resident`);
});

test('a second account, by phone number, and neither shows what is of the other', async () => {
  const small = await Window.open(server.base, { size: PHONE, path: '#/accounts' });
  await small.click('Add an account');
  await small.page.waitForSelector('dialog input');
  await small.page.keyboard.type('Shop');
  await small.page.keyboard.press('Enter');
  await small.sees('Number of the phone');
  await until(async () => (await server.api('GET', '/accounts/shop/status')).hasQR, 'a connection');
  await small.type('form input', `+${SHOP}`);
  await small.page.keyboard.press('Enter');
  await small.page.waitForSelector('.letters b');
  await small.shot('phone-link-code');
  assert.deepEqual(await small.findings(), []);
  const code = await small.page.$$eval('.letters b', (all) => all.map((b) => b.innerText).join(''));
  await phones('mock-phone/enter-code', { number: SHOP, code });
  await small.sees('Connected as');
  await small.go('#/chats/shop');
  await small.sees('No chats yet');
  assert.ok(!(await small.text()).includes('ladder'));
  await phones(`phones/${MEHMET}/messages`, { to: SHOP, text: 'Is the bicycle still for sale?' });
  await small.sees('Is the bicycle still for sale?');
  await small.close();
  await w.sees('Shop');
  assert.ok(!(await w.text()).includes('bicycle'));
  await w.go('#/accounts');
  await w.sees('Since today');
  await w.shot('desktop-accounts');
});

test('names are found while one types, and a stranger is written to by number', async () => {
  await says(MEHMET, { text: 'Four spades, please' });
  await w.go('#/chats/home');
  await w.sees('Four spades');
  await w.page.keyboard.press('/');
  await w.page.keyboard.type('mehm');
  await until(async () => (await w.page.$$('.rows .row[href]')).length === 1, 'one chat');
  await w.page.keyboard.press('Escape');
  await w.page.$eval('.find input', (input) => { input.value = 'nowhere'; input.dispatchEvent(new Event('input')); });
  await w.sees('Nothing with ‘nowhere’ in Home');
  await w.page.$eval('.find input', (input) => { input.value = ''; input.dispatchEvent(new Event('input')); input.blur(); });
  await w.click('Unread');
  await w.sees('Mehmet');
  await w.click('Groups', '.chips');
  await until(async () => { const rows = await w.page.$$eval('.rows .row[href]', (all) => all.map((row) => row.innerText)); return rows.length === 1 && rows[0].includes('Allotment garden'); }, 'the one group');
  await w.click('All', '.chips');
  await w.page.keyboard.press('n');
  await w.page.waitForSelector('dialog input');
  await w.page.keyboard.type(`+${MEHMET}`);
  await w.page.keyboard.press('Enter');
  await w.page.waitForSelector('.compose textarea');
  await w.type('.compose textarea', 'Coming');
  await w.page.keyboard.press('Enter');
  await received(MEHMET, 'Coming');
});

test('a key is wanted once there is one, a wrong one is told, a removed one too', async () => {
  const key = server.key('phone'), reader = server.key('panel', '--read-only');
  server.using = key;
  await w.go('#/webhooks');
  await w.sees('This server wants a key');
  await w.close();
  w = await Window.open(server.base, { path: chat(ANNA) });
  await w.sees('This server wants a key');
  await w.type('form input', 'wc_wrong');
  await w.page.keyboard.press('Enter');
  await w.sees('This key is not known here');
  assert.deepEqual(await w.findings(), []);
  await w.page.$eval('form input', (input) => { input.value = ''; });
  await w.type('form input', key);
  await w.page.keyboard.press('Enter');
  // It goes to where the address pointed.
  await w.page.waitForSelector('.compose textarea');
  await w.sees('-H "X-Api-Key: $KEY"');
  assert.ok(!(await w.text()).includes(key));
  const basic = await fetch(`${server.base}/accounts`);
  assert.match(basic.headers.get('WWW-Authenticate'), /^Basic/);
  const reads = await Window.open(server.base);
  await reads.type('form input', reader);
  await reads.page.keyboard.press('Enter');
  await reads.sees('Home');
  await reads.go(chat(ANNA));
  await reads.sees('This key can only read.');
  assert.equal(await reads.page.$('.compose'), null);
  server.dropKey('panel');
  await reads.page.reload();
  // A request may have found that out before.
  await until(async () => /This key is not known here|This server wants a key/.test(await reads.text()), 'the view of keys');
  await reads.close();
  await w.go('#/keys');
  await w.sees('This browser');
});

test('the server goes away and comes back, and nothing is drawn twice', async () => {
  await w.go(chat(ANNA));
  await w.sees('No hurry');
  const count = await w.page.$$eval('.msg', (all) => all.length);
  await server.down('SIGKILL');
  await w.sees('The server does not answer');
  await w.sees('Unknown');
  const small = w.page;
  await small.setViewport(NARROW);
  await w.go('#/chats/home');
  await small.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await w.shot('phone-server-gone-dark');
  await small.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  await small.setViewport(DESKTOP);
  await w.go(chat(ANNA));
  await says(ANNA, { text: 'Are you there?' });
  await server.up();
  await w.loses('The server does not answer');
  await w.sees('Are you there?');
  await until(async () => (await w.page.$$eval('.msg', (all) => all.length)) === count + 1, `${count + 1} messages`);
});

test('the phone unlinks it, and the page says so', async () => {
  await phones(`phones/${SHOP}/unlink`, {});
  await w.go('#/accounts');
  await w.sees('Unlinked');
  await w.sees('Link again');
  await w.go('#/chats/shop');
  await w.open('Mehmet');
  await w.sees('Shop is not linked any more');
});

test('a webhook that fails says why, and a test shows the answer', async () => {
  const receiver = createServer((request, response) => { request.resume(); response.end('thank you'); }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  await w.go('#/webhooks');
  await w.sees('No webhooks');
  await w.click('Add a webhook');
  await w.type('dialog input', 'http://127.0.0.1:9/none');
  await w.click('Save', 'dialog');
  await w.sees('Nothing sent yet');
  await says(ANNA, { text: 'For the hook' });
  await w.sees('Failing since');
  await w.sees('Is that program running?');
  await w.click('Add a webhook');
  await w.type('dialog input', `http://127.0.0.1:${receiver.address().port}/good`);
  await w.click('Save', 'dialog');
  await w.sees('/good');
  await until(() => w.page.evaluate(() => { const good = [...document.querySelectorAll('.hooks a')].find((a) => a.innerText.includes('/good')); good?.click(); return !!good; }), 'the hook');
  await w.sees('/good');
  await until(() => w.page.$eval('.hooks h2', (h) => h.innerText.includes('/good')), 'its details');
  await w.click('Send a test');
  await w.sees('200 in');
  await w.shot('desktop-webhooks');
  assert.deepEqual(await w.findings(), []);
  receiver.close();
});

test('no view has a serious finding, in both themes and at both widths', async () => {
  for (const dark of [false, true]) for (const size of [DESKTOP, NARROW]) {
    await w.page.setViewport(size);
    await w.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
    for (const [name, hash, words] of [['chats', '#/chats/home', 'Mehmet'], ['chat', chat(ANNA), 'No hurry'], ['accounts', '#/accounts', 'Unlinked'], ['link', '#/accounts/shop/link', 'Link a phone'], ['webhooks', '#/webhooks', 'Add a webhook'], ['keys', '#/keys', 'This browser'], ['server', '#/server', 'Data directory'], ['settings', '#/settings', 'limits.max_file']]) {
      await w.go(hash);
      await w.sees(words);
      const where = `${size === NARROW ? 'phone' : 'desktop'}-${name}${dark ? '-dark' : ''}`;
      await w.shot(`view-${where}`);
      assert.deepEqual(await w.findings(), [], where);
      const wide = await w.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${where} is ${wide} px too wide`);
    }
  }
  await w.page.setViewport(DESKTOP);
});

test('with the keyboard alone', async () => {
  const { page } = w;
  await w.go('#/accounts');
  await w.sees('Unlinked');
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await page.waitForSelector('.rows .row[href]');
  // Tab leads into the list once, arrows move in it.
  await page.evaluate(() => document.querySelector('.find input').focus());
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await page.evaluate(() => document.activeElement.closest('li').getAttribute('aria-posinset')), '2');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.compose textarea');
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'TEXTAREA');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !location.hash.includes('%40'));
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Escape');
  assert.equal(await page.$('dialog[open]'), null);
});

test('each word has one name', () => {
  const text = readFileSync(new URL('../../src/web/words.js', import.meta.url), 'utf8').replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''").replace(/(: )\{[^}]*\}/g, "$1''");
  const names = [...text.matchAll(/([\w]+): /g)].map((found) => found[1]);
  assert.deepEqual(names.filter((name, n) => names.indexOf(name) !== n), []);
});

const HOSTILE = ['<img src=x onerror=alert(1)>', '{{constructor.constructor("alert(1)")()}}', '${alert(1)}', 'javascript:alert(1)', '\u202egnp.exe\u202c', '"><svg onload=alert(1)>', 'Z\u0351\u0352\u0353\u0354\u0355'.repeat(40), '</script><script>alert(1)</script>'];

test('what strangers write is text, in every field that they fill', async () => {
  const evil = '4915100000666', name = HOSTILE[0];
  await phones('phones', { number: evil, name });
  await w.page.evaluate(() => { window.alert = () => { document.title = 'BROKEN'; }; });
  for (const text of HOSTILE) await phones(`phones/${evil}/messages`, { to: OWN, text });
  await phones(`phones/${evil}/messages`, { to: OWN, text: 'x'.repeat(65_536) });
  await phones(`phones/${evil}/messages`, { to: OWN, document: { base64: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>').toString('base64'), fileName: 'invoice\u202efdp.exe', mimetype: 'image/svg+xml' } });
  await phones(`phones/${evil}/messages`, { to: OWN, image: { base64: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>').toString('base64'), caption: HOSTILE[5], mimetype: 'image/svg+xml' } }).catch(() => {});
  await phones(`phones/${evil}/messages`, { to: OWN, location: { latitude: 1, longitude: 2, name: HOSTILE[5], address: HOSTILE[0] } });
  await phones(`phones/${evil}/messages`, { to: OWN, contact: { name: HOSTILE[0], vcard: `BEGIN:VCARD\nVERSION:3.0\nFN:${HOSTILE[0]}\nTEL:${HOSTILE[5]}\nEND:VCARD` } });
  await phones(`phones/${evil}/messages`, { to: OWN, poll: { name: HOSTILE[5], options: [HOSTILE[0], HOSTILE[2]] } });
  const { jid } = await phones('groups', { subject: HOSTILE[5], members: [evil, OWN] });
  await phones(`phones/${evil}/messages`, { to: jid, text: HOSTILE[7] });
  await phones(`phones/${evil}/messages`, { to: OWN, text: 'The last one' });
  await w.go(chat(evil));
  await until(() => w.page.evaluate(() => document.querySelector('.talk')?.innerText.includes('The last one')), 'the messages');
  const shown = await w.text();
  for (const text of HOSTILE) assert.ok(shown.includes(text), text);
  assert.ok(!shown.includes('invoice\u202e'), 'a direction mark is left in a file name');
  assert.ok(shown.includes('.exe'), 'the real extension is shown');
  const strange = await w.page.evaluate(() => document.querySelectorAll('main :is(script, iframe, object, embed, form:not(dialog form)), main img:not([src^="blob:"]), main [onerror], main [onload]').length);
  assert.equal(strange, 0);
  assert.ok(await w.page.$$eval('main a[href]', (all) => all.every((a) => /^(#|https?:)/.test(a.getAttribute('href')))));
  await w.go(`#/chats/home/${encodeURIComponent(jid)}`);
  await w.sees('</script><script>alert(1)</script>');
  // An address with anything in it is matched before it is used.
  for (const hash of ['#/chats/<img src=x>/y', '#/accounts/../x/link', '#/chats/home/%E0%A4%A', '#/webhooks/"><script>']) { await w.go(hash); await w.page.waitForSelector('main h1'); }
  assert.notEqual(await w.page.title(), 'BROKEN');
  // What the file routes answer must not run in the page's origin.
  const { messages } = await server.api('GET', `/accounts/home/chats/${evil}@s.whatsapp.net/messages`);
  const file = messages.find((m) => m.type === 'document');
  const answer = await fetch(server.base + file.mediaUrl, { headers: { 'X-Api-Key': server.using } });
  assert.match(answer.headers.get('Content-Security-Policy'), /sandbox; default-src 'none'/);
  assert.equal(answer.headers.get('X-Content-Type-Options'), 'nosniff');
  await w.close();
});

test('10,000 chats are a list of under 60 rows', { timeout: 600_000 }, async () => {
  const number = '4915100009999', many = await Wildcat.start({ WILDCAT_HISTORY_DAYS: '3650' });
  await phones('phones', { number, name: 'Many' });
  await phones(`phones/${number}/history`, { chats: 10_000, messagesPerChat: 1, days: 1 });
  await many.pair('many', number, 'Many');
  const total = async () => (await many.api('GET', '/accounts/many/chats?limit=1')).pagination.total;
  const end = Date.now() + 480_000;
  while ((await total().catch(() => 0)) < 10_000 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 1000));
  const view = await Window.open(many.base, { path: '#/chats/many' });
  await until(() => view.page.$eval('.rows ul', (ul) => ul.offsetHeight === 720_000), '10,000 rows of height');
  const rows = () => view.page.$$eval('.rows li', (all) => all.length);
  let most = await rows();
  for (const part of [0.5, 1, 0.25, 0]) {
    await view.page.$eval('.rows', (box, to) => { box.scrollTop = box.scrollHeight * to; }, part);
    await until(async () => (await view.page.$$('.rows .row[href]')).length > 5, 'rows');
    most = Math.max(most, await rows());
  }
  assert.ok(most < 60, `${most} rows`);
  const client = await view.page.createCDPSession();
  await client.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  await view.page.click('.rows .row[href]');
  await view.page.waitForSelector('.compose textarea');
  await view.page.focus('.compose textarea');
  const times = await view.page.evaluate(async () => {
    const input = document.querySelector('.compose textarea'), all = [];
    for (let n = 0; n < 50; n++) {
      const began = performance.now();
      input.value += 'x';
      input.dispatchEvent(new Event('input'));
      input.offsetHeight;
      all.push(performance.now() - began);
      await new Promise(requestAnimationFrame);
    }
    return all.sort((a, b) => a - b);
  });
  await client.send('Emulation.setCPUThrottlingRate', { rate: 1 });
  console.log(`10,000 chats: ${most} rows at most; a key press on a fourfold slowed processor ${times[25].toFixed(1)} ms (median), ${times[47].toFixed(1)} ms (95 %)`);
  await phones('phones', { number: ANNA, name: 'Anna Becker' });
  await phones('load', { from: ANNA, to: number, count: 1000 });
  await view.go(`#/chats/many/${ANNA}%40s.whatsapp.net`);
  await until(async () => { const found = await many.api('GET', `/accounts/many/chats/${ANNA}@s.whatsapp.net/messages?limit=1`).catch(() => null); return found?.pagination.total >= 1000; }, '1,000 messages');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const inChat = await view.page.$$eval('.msg', (all) => all.length);
  assert.ok(inChat <= 350, `${inChat} messages in the document`);
  await client.send('HeapProfiler.collectGarbage');
  const { usedSize } = await client.send('Runtime.getHeapUsage');
  console.log(`memory of the tab after 1,000 messages: ${(usedSize / 1e6).toFixed(1)} MB; ${inChat} messages in the document`);
  assert.ok(usedSize < 40e6);
  await view.close();
  await many.down();
});
