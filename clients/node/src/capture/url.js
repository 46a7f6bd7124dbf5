'use strict';

const { isIPv6 } = require('node:net');
const { parse } = require('node:querystring');

const MAX_PATH_CHARS = 2_048;
const UNKNOWN_HOST = 'unknown.invalid';
const HOST = /^(?:[\w.-]{1,253}|\[([\da-f:.]{2,45})\])(?::([1-9]\d{0,4}))?$/i;

/** @returns {string} the path of a request's target: origin-form, absolute-form or `*` */
function pathOf(target) {
  const question = target.indexOf('?');
  const path = question === -1 ? target : target.slice(0, question);
  return (path.startsWith('/') ? path : path.replace(/^[a-z][a-z\d+.-]*:\/\/[^/]*/i, '') || '/').slice(
    0,
    MAX_PATH_CHARS,
  );
}

/** @returns {Record<string, string | string[]> | undefined} the parameters of a request's target, if it has any */
function queryOf(target) {
  const question = target.indexOf('?');
  return question === -1 ? undefined : parse(target.slice(question + 1));
}

/**
 * @param {import('node:http').IncomingMessage} req
 * @returns {string} scheme and host as the client wrote them; a host that no URL can hold is `unknown.invalid`
 */
function domainUrlOf(req, { domainUrl, trustProxy }) {
  if (domainUrl) return domainUrl;
  const host = (trustProxy && first(req.headers['x-forwarded-host'])) || req.headers.host || req.headers[':authority'];
  return `${schemeOf(req, trustProxy)}://${isHost(host) ? host : UNKNOWN_HOST}`;
}

function schemeOf(req, trustProxy) {
  const forwarded = trustProxy && first(req.headers['x-forwarded-proto']);
  if (forwarded === 'https' || forwarded === 'http') return forwarded;
  return req.headers[':scheme'] === 'https' || req.socket?.encrypted ? 'https' : 'http';
}

function first(list) {
  return list?.split(',', 1)[0].trim().toLowerCase();
}

function isHost(text) {
  const match = HOST.exec(text ?? '');
  return match !== null && (match[1] === undefined || isIPv6(match[1])) && Number(match[2] ?? 1) <= 65_535;
}

module.exports = { pathOf, queryOf, domainUrlOf };
