'use strict';

const SHAPE = 'The DSN must look like https://{token}@{host}/{trafficSourceId}';
const HEADER_SAFE = /^[\x21-\x7e]+$/;

/**
 * Takes a DSN apart. Throws a TypeError that says what is wrong and never repeats the DSN, for it holds a token.
 *
 * @param {string} dsn `http(s)://{token}@{host}/{trafficSourceId}`; the path may have a prefix
 * @returns {{ url: URL, token: string }} where batches are posted, and with which token
 */
function parseDsn(dsn) {
  const parts = split(dsn);
  const token = decoded(parts.username);
  const path = parts.pathname.split('/').filter(Boolean);
  if (!/^https?:$/.test(parts.protocol)) throw new TypeError(`${SHAPE}: it starts with neither http:// nor https://.`);
  if (!HEADER_SAFE.test(token)) throw new TypeError(`${SHAPE}: it has no usable token.`);
  if (parts.password) throw new TypeError(`${SHAPE}: it has a colon behind the token.`);
  if (path.length === 0) throw new TypeError(`${SHAPE}: it has no traffic source.`);
  return { url: batchUrl(parts, path), token };
}

function split(dsn) {
  try {
    return new URL(String(dsn).trim());
  } catch {
    throw new TypeError(`${SHAPE}: it is not a URL.`);
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function batchUrl({ protocol, host }, path) {
  const prefix = path.slice(0, -1).map((part) => `/${part}`);
  return new URL(`${protocol}//${host}${prefix.join('')}/http-traffic-records/${path.at(-1)}/batch`);
}

module.exports = { parseDsn };
