// Linking, logging in again, and the end of a link.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DisconnectReason } from 'baileys';

import { Client } from './client.mjs';
import { Phone, scanQr, unansweredIqs } from './simulator.mjs';

const options = { timeout: 20_000 };
/** Milliseconds. One unanswered request alone would take Baileys a minute. */
const PROMPT = 5000;

test('pairs by QR code and logs in again', options, async (t) => {
  const phone = new Phone('15550100001');
  const client = new Client();
  t.after(() => client.disconnect());

  const linked = await client.pairByQr(phone);
  assert.equal(client.me.id, linked.jid);
  assert.equal(client.me.lid, linked.lid);
  assert.deepEqual(await unansweredIqs(client.device), []);
  await client.disconnect();
  await phone.deviceGone();

  const restarted = new Client({ saved: client.save() });
  t.after(() => restarted.disconnect());
  const begin = performance.now();
  restarted.connect();
  await restarted.open();
  assert.ok(performance.now() - begin < PROMPT);
  assert.equal(restarted.showedQr, false);
  assert.equal(restarted.me.id, linked.jid);
  assert.deepEqual(await unansweredIqs(restarted.device), []);
});

test('pairs by phone code', options, async (t) => {
  const phone = new Phone('15550100002');
  const client = new Client();
  t.after(() => client.disconnect());

  const linked = await client.pair(async () => {
    await client.qr();
    return phone.enterCode(await client.phoneCode(phone.number));
  });
  assert.equal(client.me.id, linked.jid);
  assert.deepEqual(await unansweredIqs(client.device), []);
});

test('two clients with one push name are two devices of one number', options, async (t) => {
  const [one, two] = [new Client({ pushName: 'Ada' }), new Client({ pushName: 'Ada' })];
  t.after(() => Promise.all([one.disconnect(), two.disconnect()]));

  const first = await one.pair(async () => scanQr(await one.qr()));
  const second = await two.pair(async () => scanQr(await two.qr()));
  assert.equal(first.jid.split(':')[0], second.jid.split(':')[0]);
  assert.notEqual(first.device, second.device);
});

test('a client unlinked on the phone is logged out', options, async (t) => {
  const phone = new Phone('15550100003');
  const client = new Client();
  t.after(() => client.disconnect());
  await client.pairByQr(phone);

  await phone.unlink();
  assert.equal(await client.closed(), DisconnectReason.loggedOut);

  client.connect();
  assert.equal(await client.closed(), DisconnectReason.loggedOut);
  const { devices } = await phone.get();
  assert.deepEqual(devices.map(({ device }) => device), [0]);
});
