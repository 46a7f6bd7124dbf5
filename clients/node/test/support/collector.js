'use strict';

const { EventEmitter } = require('node:events');
const http = require('node:http');
const { gunzipSync } = require('node:zlib');

const TOKEN = 'test-token';
const SOURCE = '0198f3c2-7a3e-7000-8000-000000000001';
const WAIT_MS = 20_000;

/**
 * A stand-in for the service: takes batches, knows a `reportId` again, and misbehaves as told.
 *
 * `fault(request, this)` decides each answer, now or later: undefined for the right one, `{ status, headers }` for another
 * one, `'hang'` for none, `'reset'` to break the connection, `'cut'` to store the batch before that.
 */
class Collector extends EventEmitter {
  records = [];
  batches = [];
  rejected = [];
  repeated = 0;
  dropped = 0;
  attempts = 0;
  arrivals = [];
  connections = 0;
  fault = () => undefined;
  #known = new Set();
  #server;
  #port = 0;

  async start() {
    this.#server = http.createServer((request, response) => this.#take(request, response));
    this.#server.on('connection', () => {
      this.connections += 1;
    });
    await new Promise((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = this.#server.address().port;
    return this;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get dsn() {
    return `http://${TOKEN}@127.0.0.1:${this.#port}/${SOURCE}`;
  }

  /** Resolves when `holds(this)` does, and fails where that takes too long. */
  async until(holds) {
    const signal = AbortSignal.timeout(WAIT_MS);
    const changes = EventEmitter.on(this, 'changed', { signal });
    if (holds(this)) return;
    for await (const _ of changes) if (holds(this)) return;
  }

  /** Distinct requests, and how many reports came of a request that had one already; by their paths. */
  tally() {
    const distinct = new Set(this.records.map(({ pathnameUrl }) => pathnameUrl)).size;
    return { arrived: distinct, twice: this.records.length - distinct, dropped: this.dropped };
  }

  arrived(count) {
    return this.until(() => this.records.length >= count);
  }

  async #take(request, response) {
    const parts = await request.toArray().catch(() => undefined);
    if (!parts) return;
    this.attempts += 1;
    this.arrivals.push(performance.now());
    const fault = await this.fault(request, this);
    if (fault === undefined || fault === 'cut') this.#answer(request, Buffer.concat(parts), response, fault);
    else if (fault === 'reset') response.destroy();
    else if (fault !== 'hang') response.writeHead(fault.status, fault.headers).end('{}');
    this.emit('changed');
  }

  #answer(request, body, response, fault) {
    const { status, answer } = this.#store(request, body);
    if (fault === 'cut') response.destroy();
    else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  #store({ method, url, headers }, body) {
    if (method !== 'POST' || url !== `/http-traffic-records/${SOURCE}/batch`) return { status: 404, answer: {} };
    if (headers.authorization !== `Bearer ${TOKEN}`) return { status: 401, answer: {} };
    const records = JSON.parse(headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body);
    this.batches.push(records.length);
    this.dropped += Number(headers['x-reports-dropped'] ?? 0);
    const fresh = records.filter((record) => !this.#known.has(record.reportId));
    for (const record of fresh) this.#known.add(record.reportId);
    this.records.push(...fresh);
    this.repeated += records.length - fresh.length;
    return {
      status: 201,
      answer: { accepted: fresh.length, repeated: records.length - fresh.length, rejected: this.rejected },
    };
  }
}

/** Starts a collector that ends with the test. */
async function collecting(t) {
  const collector = await new Collector().start();
  t.after(() => collector.stop());
  return collector;
}

module.exports = { Collector, collecting, SOURCE, TOKEN };
