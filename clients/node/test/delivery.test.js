'use strict';

const assert = require('node:assert/strict');
const { AsyncLocalStorage } = require('node:async_hooks');
const { describe, it } = require('node:test');
const reporter = require('../src/index.js');
const { Backoff } = require('../src/delivery/backoff.js');
const { outcomeOf } = require('../src/delivery/outcome.js');
const { ReportQueue } = require('../src/delivery/queue.js');
const { Transport } = require('../src/delivery/transport.js');
const { parseDsn } = require('../src/dsn.js');
const { collecting, TOKEN } = require('./support/collector.js');
const { reporting } = require('./support/reporting.js');

const call = (status = 200, url = '/') => ({ status, url, elapsedMs: 1 });

/** @returns {() => Promise<string[]>} the reporter's warnings since it was called; Node.js emits them a tick late */
function warnings(t) {
  const said = [];
  const note = (warning) => warning.name === 'ArkynReporterWarning' && said.push(warning.message);
  process.on('warning', note);
  t.after(() => process.off('warning', note));
  return () => new Promise((resolve) => setImmediate(resolve, said));
}

describe('a batch', () => {
  it('gathers for a second', async (t) => {
    const { collector, report } = await reporting(t);
    const from = performance.now();
    for (let n = 0; n < 10; n += 1) report.report(call());
    await collector.arrived(10);
    assert.deepEqual(collector.batches, [10]);
    assert.ok(performance.now() - from >= 990);
  });

  it('goes at once where it holds a fatal report, with all before it', async (t) => {
    const { collector, report } = await reporting(t);
    const from = performance.now();
    report.report(call(200));
    report.report(call(500));
    await collector.arrived(2);
    assert.deepEqual(collector.batches, [2]);
    assert.ok(performance.now() - from < 900);
  });

  it('goes at once where it is full, and holds 1,000', async (t) => {
    const { collector, report } = await reporting(t);
    for (let n = 0; n < 2_500; n += 1) report.report(call());
    await collector.arrived(2_000);
    assert.deepEqual(collector.batches, [1_000, 1_000]);
    await collector.arrived(2_500);
  });

  it('gathers fatal reports for a tenth of a second where they come in a storm', async (t) => {
    const { collector, report } = await reporting(t);
    const storm = setInterval(() => report.report(call(500)), 1);
    await collector.arrived(200);
    clearInterval(storm);
    assert.ok(collector.batches.length <= 2 + (collector.arrivals.at(-1) - collector.arrivals[0]) / 90);
  });

  it('that is refused for its token is followed by none for a while', async (t) => {
    const { collector, report } = await reporting(t);
    const refused = reporter({ dsn: collector.dsn.replace(TOKEN, 'wrong') });
    refused.report(call());
    await refused.flush();
    refused.report(call(500));
    report.report(call(500));
    await collector.arrived(1);
    assert.equal(collector.attempts, 2);
  });

  it('goes over one connection', async (t) => {
    const { collector, report } = await reporting(t);
    for (let n = 1; n <= 5; n += 1) {
      report.report(call(500));
      await collector.arrived(n);
    }
    assert.equal(collector.connections, 1);
  });

  it('is not sent to where a redirect points, and is warned of', async (t) => {
    const said = warnings(t);
    const { collector, report } = await reporting(t);
    const other = await collecting(t);
    collector.fault = () => ({ status: 307, headers: { location: other.dsn.replace(/\w+-\w+@/, '') } });
    report.report(call());
    assert.equal(await report.flush(), true);
    assert.equal(other.attempts, 0);
    assert.match((await said()).join(), /refused a batch with status 307/);
  });

  it('that gets no answer is given up after a while', async (t) => {
    const collector = await collecting(t);
    collector.fault = () => 'hang';
    const transport = new Transport(parseDsn(collector.dsn), { sendMs: 1_000, answerMs: 50 });
    assert.deepEqual(await transport.post(['{}'], 0), { error: 'ETIMEDOUT' });
  });

  it('does not carry a request’s AsyncLocalStorage along', async (t) => {
    const storage = new AsyncLocalStorage();
    const { collector, report } = await reporting(t);
    const seen = [];
    const { post } = Transport.prototype;
    t.mock.method(Transport.prototype, 'post', function follow(...args) {
      seen.push(storage.getStore());
      return post.apply(this, args);
    });
    storage.run('of a request', () => report.report(call(500)));
    await collector.arrived(1);
    assert.deepEqual(seen, [undefined]);
  });
});

describe('a warning', () => {
  it('says once that the service refuses the token, and never names it', async (t) => {
    const said = warnings(t);
    const collector = await collecting(t);
    const report = reporter({ dsn: collector.dsn.replace(TOKEN, 'wrong-s3cret') });
    report.report(call());
    assert.equal(await report.flush(), true);
    report.report(call());
    await report.flush(1);
    assert.deepEqual(await said(), [
      'The service refused a batch with status 401: its reports are dropped, and counted.',
    ]);
  });

  it('says why a batch is tried again', async (t) => {
    const said = warnings(t);
    const { collector, report } = await reporting(t);
    await collector.stop();
    report.report(call());
    assert.equal(await report.flush(300), false);
    await collector.start();
    assert.equal(await report.flush(), true);
    assert.ok((await said()).includes('A batch could not be delivered (ECONNREFUSED); it is tried again.'));
  });

  it('says what the service could not use of a batch', async (t) => {
    const said = warnings(t);
    const { collector, report } = await reporting(t);
    collector.rejected = [{ index: 0, errors: { json: { status: ['Must be a number.'] } } }];
    report.report(call());
    assert.equal(await report.flush(), true);
    assert.match((await said()).join(), /could not use 1 of 1 reports: .*Must be a number/);
  });
});

describe('a flush', () => {
  it('has nothing to wait for where nothing is queued', async (t) => {
    const { report } = await reporting(t);
    assert.equal(await report.flush(), true);
  });

  it('ends in time, and says that it did not finish', async (t) => {
    const { collector, report } = await reporting(t);
    collector.fault = () => 'hang';
    report.report(call());
    const from = performance.now();
    assert.equal(await report.flush(200), false);
    assert.ok(performance.now() - from < 1_500);
  });

  it('does not wait for a service that asked for more time than there is', async (t) => {
    const { collector, report } = await reporting(t);
    collector.fault = () => ({ status: 429, headers: { 'retry-after': '60' } });
    report.report(call());
    const from = performance.now();
    assert.equal(await report.flush(), false);
    assert.equal(await report.flush(), false);
    assert.ok(performance.now() - from < 1_500);
    assert.equal(collector.attempts, 1);
  });

  it('may be called many times at once', async (t) => {
    const { collector, report } = await reporting(t);
    report.report(call());
    const first = report.flush();
    report.report(call());
    assert.deepEqual(await Promise.all([first, report.flush(), report.flush()]), [true, true, true]);
    assert.equal(collector.records.length, 2);
  });
});

describe('the queue', () => {
  it('is bounded in bytes, and keeps a tenth for fatal reports', () => {
    const queue = new ReportQueue(1_000);
    const json = 'x'.repeat(36);
    let added = 0;
    while (queue.add(json, false)) added += 1;
    assert.equal(added, 9);
    assert.equal(queue.add(json, true), true);
    assert.equal(queue.add(json, true), false);
    assert.equal(queue.bytes, 1_000);
  });

  it('gives the oldest within both bounds, and at least one', () => {
    const queue = new ReportQueue(10_000);
    for (const name of ['a', 'b', 'c']) queue.add(name.repeat(100), false);
    assert.equal(queue.head(2, 10_000).length, 2);
    assert.equal(queue.head(3, 350).length, 2);
    assert.deepEqual(queue.head(3, 1), ['a'.repeat(100)]);
    queue.remove(2);
    assert.deepEqual(queue.head(3, 10_000), ['c'.repeat(100)]);
  });

  it('knows whether it holds a fatal report', () => {
    const queue = new ReportQueue(10_000);
    queue.add('a', false);
    queue.add('b', true);
    queue.remove(1);
    assert.equal(queue.holdsFatal, true);
    queue.remove(1);
    assert.equal(queue.holdsFatal, false);
  });
});

describe('an outcome', () => {
  for (const [answer, kind, waitMs] of [
    [{ status: 201 }, 'delivered', undefined],
    [{ status: 408 }, 'retry', undefined],
    [{ status: 429, retryAfter: '1.5' }, 'retry', 1_500],
    [{ status: 503, retryAfter: 'nonsense' }, 'retry', undefined],
    [{ status: 503, retryAfter: new Date(0).toUTCString() }, 'retry', 0],
    [{ error: 'ECONNRESET' }, 'retry', undefined],
    [{ status: 302 }, 'refused', 30_000],
    [{ status: 400 }, 'refused', 0],
    [{ status: 401 }, 'refused', 30_000],
    [{ status: 413 }, 'split', undefined],
  ]) {
    it(`of ${JSON.stringify(answer)} is ${kind}`, () => {
      const outcome = outcomeOf(answer, 2);
      assert.deepEqual([outcome.kind, outcome.waitMs], [kind, waitMs]);
    });
  }
});

describe('the backoff', () => {
  it('grows to half a minute, with jitter', () => {
    const longest = new Backoff(() => 1);
    assert.deepEqual(
      Array.from({ length: 8 }, () => longest.next()),
      [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
    );
    assert.equal(new Backoff(() => 0).next(), 250);
  });

  it('waits as long as the service asks, and no longer than a quarter of an hour', () => {
    assert.equal(new Backoff(() => 0).next(5_000), 5_000);
    assert.equal(new Backoff(() => 0).next(1e9), 900_000);
  });
});
