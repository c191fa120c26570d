// What is encrypted with a message's secret.

import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Encrypts with a message's secret what `person` adds to the message `id` of `author`. */
export function seal(secret, id, author, person, purpose, plain, aad) {
  const info = Buffer.from(id + author + person + purpose);
  const key = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(32), info, 32));
  const encIv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, encIv);
  if (aad) cipher.setAAD(Buffer.from(`${id}\0${person}`));
  const encPayload = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return { encPayload, encIv };
}
