// Files as programs send them: small, real, made here, and different for each `seed`.

import { createHash, createHmac } from 'node:crypto';
import { deflateSync } from 'node:zlib';

/** The SHA-256 as the simulator writes it. */
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Bytes that no compression makes small, the same each time. */
export function noise(length, seed = '') {
  const blocks = [];
  for (let n = 0; n * 32 < length; n++) {
    blocks.push(createHmac('sha256', 'noise').update(`${seed}/${n}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const be16 = (n) => Buffer.from([n >> 8, n & 255]);
const be32 = (n) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
};
const le32 = (n) => be32(n).reverse();

/** A CRC of 32 bits, bit by bit. */
function crc(bytes, { polynomial, reflected, start, end }) {
  let sum = start;
  for (const byte of bytes) {
    sum ^= reflected ? byte : byte << 24;
    for (let bit = 0; bit < 8; bit++) {
      if (reflected) sum = sum & 1 ? (sum >>> 1) ^ polynomial : sum >>> 1;
      else sum = sum & 0x8000_0000 ? (sum << 1) ^ polynomial : sum << 1;
    }
  }
  return (sum ^ end) >>> 0;
}
const PNG_CRC = { polynomial: 0xedb8_8320, reflected: true, start: -1, end: -1 };
const OGG_CRC = { polynomial: 0x04c1_1db7, reflected: false, start: 0, end: 0 };

/** A PNG of coloured noise. */
export function png(width, height, seed) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    return Buffer.concat([be32(data.length), body, be32(crc(body, PNG_CRC))]);
  };
  const pixels = noise(width * height * 3, seed);
  const rows = [];
  for (let y = 0; y < height; y++) {
    rows.push(Buffer.from([0]), pixels.subarray(y * width * 3, (y + 1) * width * 3));
  }
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', Buffer.concat([be32(width), be32(height), Buffer.from([8, 2, 0, 0, 0])])),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A JPEG: even grey, with noise in a comment. Sides are multiples of 8. */
export function jpeg(width, height, seed) {
  const segment = (marker, ...parts) => {
    const data = Buffer.concat(parts.map((part) => Buffer.from(part)));
    return Buffer.concat([Buffer.from([0xff, marker]), be16(data.length + 2), data]);
  };
  // One code of one bit: no difference to the block before; nothing else in the block.
  const table = (where) => [where, 1, ...Array(15).fill(0), 0];
  const bits = (width / 8) * (height / 8) * 2;
  const data = Buffer.alloc(Math.ceil(bits / 8));
  if (bits % 8) data[data.length - 1] = (1 << (8 - (bits % 8))) - 1;
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    segment(0xe0, Buffer.from('JFIF\0', 'latin1'), [1, 1, 0, 0, 1, 0, 1, 0, 0]),
    segment(0xfe, noise(20_000, seed)),
    segment(0xdb, [0], Array(64).fill(1)),
    segment(0xc0, [8], be16(height), be16(width), [1, 1, 0x11, 0]),
    segment(0xc4, table(0x00)),
    segment(0xc4, table(0x10)),
    segment(0xda, [1, 1, 0, 0, 63, 0]),
    data,
    Buffer.from([0xff, 0xd9]),
  ]);
}

/** A WebP of 512 × 512 pixels of one colour, lossless: a sticker that needs no conversion. */
export const webp = () =>
  Buffer.from('UklGRhoAAABXRUJQVlA4TA0AAAAv/8F/EAcQERGIiP4HAA==', 'base64');

/** An MP4 whose head says what it is, with noise for its pictures. */
export function mp4(width, height, seconds, seed) {
  const box = (type, ...parts) => {
    const data = Buffer.concat(parts);
    return Buffer.concat([be32(data.length + 8), Buffer.from(type, 'latin1'), data]);
  };
  const zeros = (n) => Buffer.alloc(n);
  const matrix = Buffer.concat(
    [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000].map((n) => be32(n)),
  );
  const duration = seconds * 1000;
  const mvhd = box(
    'mvhd',
    ...[zeros(12), be32(1000), be32(duration), be32(0x1_0000), be16(0x100), zeros(10)],
    ...[matrix, zeros(24), be32(2)],
  );
  const tkhd = box(
    'tkhd',
    ...[be32(7), zeros(8), be32(1), zeros(4), be32(duration), zeros(8), zeros(8), matrix],
    ...[be32(width * 0x1_0000), be32(height * 0x1_0000)],
  );
  const mdhd = box('mdhd', zeros(12), be32(1000), be32(duration), be32(0x55c4_0000));
  const hdlr = box('hdlr', zeros(8), Buffer.from('vide', 'latin1'), zeros(13));
  return Buffer.concat([
    box('ftyp', Buffer.from('isom\0\0\x02\0isommp41', 'latin1')),
    box('moov', mvhd, box('trak', tkhd, box('mdia', mdhd, hdlr))),
    box('mdat', noise(60_000, seed)),
  ]);
}

/** A voice note: OGG/Opus, silent, with noise in a comment. */
export function opus(seconds, seed) {
  const SERIAL = 0x5eed;
  let sequence = 0;
  const page = (flags, granule, packets) => {
    const lacing = packets.flatMap(({ length }) => [
      ...Array(Math.floor(length / 255)).fill(255),
      length % 255,
    ]);
    const head = Buffer.concat([
      Buffer.from('OggS\0', 'latin1'),
      Buffer.from([flags]),
      ...[le32(granule), le32(0), le32(SERIAL), le32(sequence++), le32(0)],
      Buffer.from([lacing.length, ...lacing]),
    ]);
    const bytes = Buffer.concat([head, ...packets]);
    bytes.writeUInt32LE(crc(bytes, OGG_CRC), 22);
    return bytes;
  };
  const head = Buffer.from('OpusHead\x01\x01\0\0\0\0\0\0\0\0\0', 'latin1');
  // Samples to leave out at the start.
  head.writeUInt16LE(312, 10);
  head.writeUInt32LE(48_000, 12);
  const comment = Buffer.from(`NOISE=${noise(6_000, seed).toString('base64')}`);
  const tags = Buffer.concat([
    Buffer.from('OpusTags', 'latin1'),
    ...[le32(4), Buffer.from('test'), le32(1), le32(comment.length), comment],
  ]);
  // 20 ms of silence, in one frame.
  const second = Array(50).fill(Buffer.from([0xf8, 0xff, 0xfe]));
  const pages = [page(2, 0, [head]), page(0, 0, [tags])];
  for (let n = 1; n <= seconds; n++) {
    pages.push(page(n === seconds ? 4 : 0, n * 48_000, second));
  }
  return Buffer.concat(pages);
}

/** A document that begins as a PDF does. */
export const pdf = (seed) =>
  Buffer.concat([Buffer.from('%PDF-1.4\n%\xe2\xe3\xcf\xd3\n', 'latin1'), noise(100_000, seed)]);
