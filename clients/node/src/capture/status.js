'use strict';

const CLIENT_CLOSED_REQUEST = 499;

/**
 * The status that the client saw. Where it saw none: 500 if the application failed, and 499 if the client went away.
 *
 * @param {import('node:http').ServerResponse} res a response that has closed
 * @param {boolean} failed whether the listener threw
 */
function statusOf(res, failed) {
  if (res.headersSent) return res.statusCode;
  return failed || res.errored ? 500 : CLIENT_CLOSED_REQUEST;
}

module.exports = { statusOf };
