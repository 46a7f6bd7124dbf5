'use strict';

const { Sender } = require('./delivery/sender.js');
const { ReportQueue } = require('./delivery/queue.js');
const { Transport } = require('./delivery/transport.js');

const MAX_REPORT_CHARS = 64 * 1024;
const FATAL_STATUS = 500;

/** Turns records into queued reports for one traffic source. */
class Pipeline {
  constructor(address, { maxQueueBytes, warnOnce }) {
    const queue = new ReportQueue(maxQueueBytes);
    this.sender = new Sender({ queue, transport: new Transport(address), warnOnce });
  }

  add(record) {
    this.sender.add(encoded(record), record.status >= FATAL_STATUS);
  }

  flush(timeoutMs) {
    return this.sender.flush(timeoutMs);
  }
}

function encoded(record) {
  const json = JSON.stringify(record);
  if (json.length <= MAX_REPORT_CHARS) return json;
  return JSON.stringify({ ...record, requestHeaders: undefined, queryParams: undefined, responseHeaders: undefined });
}

module.exports = { Pipeline };
