'use strict';

const REDACTED = '[redacted]';
const MAX_VALUE_CHARS = 1_024;
// Their values are URLs, and query strings hold secrets.
const URL_HEADERS = new Set(['referer', 'location', 'content-location', 'x-original-url', 'x-forwarded-uri']);

/** @returns {Record<string, string | string[]>} a copy of the request's headers, secrets redacted */
function requestHeaders(req, isSensitive) {
  return redacted(req.headers, isSensitive);
}

/** @returns {Record<string, string | string[]>} the response's headers as they were sent, secrets redacted */
function responseHeaders(res, isSensitive) {
  return redacted(sentHeaders(res), isSensitive);
}

/** `getHeaders()` lacks what went straight into `writeHead()`, as Fastify's do; the head that was sent has it all. */
function sentHeaders(res) {
  return typeof res._header === 'string' ? parsedHead(res._header) : res.getHeaders();
}

function parsedHead(head) {
  const headers = Object.create(null);
  for (const line of head.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    if (colon > 0) append(headers, line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

function append(headers, name, value) {
  headers[name] = name in headers ? [].concat(headers[name], value) : value;
}

/** @returns {Record<string, string | string[]>} a copy of headers or query parameters, secrets redacted, values cut */
function redacted(values, isSensitive) {
  const copy = Object.create(null);
  for (const name of Object.keys(values)) {
    if (!name.startsWith(':')) copy[name] = isSensitive(name) ? REDACTED : shown(name, values[name]);
  }
  return copy;
}

function shown(name, value) {
  if (Array.isArray(value)) return value.map((item) => shown(name, item));
  const text = URL_HEADERS.has(name) ? withoutQuery(String(value)) : String(value);
  return text.length > MAX_VALUE_CHARS ? `${text.slice(0, MAX_VALUE_CHARS)}…` : text;
}

function withoutQuery(url) {
  const question = url.indexOf('?');
  return question === -1 ? url : `${url.slice(0, question)}?${REDACTED}`;
}

module.exports = { requestHeaders, responseHeaders, redacted };
