'use strict';

const REDACTED = '[redacted]';
const MAX_VALUE_CHARS = 1_024;
// Their values are URLs, and query strings hold secrets.
const URL_HEADERS = new Set(['referer', 'location', 'content-location', 'x-original-url', 'x-forwarded-uri']);

/** @returns {Record<string, string | string[]>} a copy of the request's headers, secrets redacted */
function requestHeaders(req, isSensitive) {
  return redacted(req.headers, isSensitive);
}

/**
 * The response's headers as they were sent, secrets redacted. `getHeaders()` lacks what went straight into
 * `writeHead()`, as Fastify's do; the head that was sent has it all, but HTTP/2 keeps none.
 *
 * @returns {Record<string, string | string[]>}
 */
function responseHeaders(res, isSensitive) {
  return typeof res._header === 'string' ? parsed(res._header, isSensitive) : redacted(res.getHeaders(), isSensitive);
}

function parsed(head, isSensitive) {
  const headers = {};
  let start = head.indexOf('\r\n') + 2;
  for (let end = head.indexOf('\r\n', start); end > start; end = head.indexOf('\r\n', start)) {
    const colon = head.indexOf(':', start);
    const name = head.slice(start, colon).toLowerCase();
    append(headers, name, isSensitive(name) ? REDACTED : shown(name, head.slice(colon + 2, end)));
    start = end + 2;
  }
  return headers;
}

function append(headers, name, value) {
  if (value === REDACTED || !Object.hasOwn(headers, name)) headers[name] = value;
  else if (Array.isArray(headers[name])) headers[name].push(value);
  else headers[name] = [headers[name], value];
}

/** @returns {Record<string, string | string[]>} a copy of headers or query parameters, secrets redacted, values cut */
function redacted(values, isSensitive) {
  const copy = {};
  for (const name in values) {
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
