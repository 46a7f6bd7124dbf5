'use strict';

const { randomUUID } = require('node:crypto');
const { requestHeaders, responseHeaders, redacted } = require('./headers.js');
const { statusOf } = require('./status.js');
const { domainUrlOf, pathOf, queryOf } = require('./url.js');

/** A report of a request whose response has closed, in the service's own fields. */
function recordOfExchange(req, res, observation, options) {
  const query = queryOf(observation.target);
  const record = recordOf({
    domainUrl: domainUrlOf(req, options),
    path: observation.template?.(observation) ?? pathOf(observation.target),
    status: statusOf(res, observation.failed),
    method: req.method,
    elapsedMs: observation.elapsedMs(),
    occurredAt: observation.occurredAt,
  });
  record.requestHeaders = requestHeaders(req, options.isSensitive);
  record.queryParams = query && redacted(query, options.isSensitive);
  record.responseHeaders = responseHeaders(res, options.isSensitive);
  return record;
}

/** A report that the application makes by itself. Throws a TypeError where a value cannot be meant. */
function recordOfCall({ status, method = 'GET', url, elapsedMs, occurredAt }, options) {
  const { origin, pathname, search } = new URL(url, options.domainUrl ?? 'http://localhost');
  check('status', Number.isInteger(status) && status >= 100 && status <= 999);
  check('method', /^[a-z][a-z-]{0,19}$/i.test(method));
  check('url', origin !== 'null');
  check('elapsedMs', Number.isFinite(elapsedMs) && elapsedMs >= 0);
  const at = occurredAt === undefined ? Date.now() - elapsedMs : new Date(occurredAt).getTime();
  check('occurredAt', Number.isFinite(at));
  const record = recordOf({ domainUrl: origin, path: pathname, status, method, elapsedMs, occurredAt: Math.round(at) });
  if (search) record.queryParams = redacted(queryOf(search), options.isSensitive);
  return record;
}

function recordOf({ domainUrl, path, status, method, elapsedMs, occurredAt }) {
  return {
    reportId: randomUUID(),
    occurredAt,
    domainUrl,
    pathnameUrl: path,
    status,
    protocol: domainUrl.startsWith('https:') ? 'https' : 'http',
    method,
    elapsedTime: Math.round(elapsedMs * 1_000) / 1_000,
    requestHeaders: undefined,
    queryParams: undefined,
    responseHeaders: undefined,
  };
}

function check(name, valid) {
  if (!valid) throw new TypeError(`"${name}" has no usable value.`);
}

module.exports = { recordOfExchange, recordOfCall };
