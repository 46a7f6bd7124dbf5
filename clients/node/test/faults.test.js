'use strict';

const assert = require('node:assert/strict');
const { it } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const reporter = require('../src/index.js');
const { faultTable } = require('./support/fault-table.js');
const { collecting } = require('./support/collector.js');
const { serving } = require('./support/serving.js');
const { traffic } = require('./support/traffic.js');

const COUNT = 500;
// So that traffic goes on for about two seconds, while the fault does.
const PAUSE_MS = 15;
const row = faultTable();

/** An application that reports, and the service that it reports to. */
async function reportingApplication(t, options) {
  const collector = await collecting(t);
  const report = reporter({ dsn: collector.dsn, ...options });
  const server = await serving(
    t,
    report.wrap((_req, res) => res.end()),
  );
  return { collector, report, ...server };
}

/** Makes each answer the next of `faults`, and the right one when they are used up. */
function inTurn(...faults) {
  return () => faults.shift();
}

/** Nothing is lost and nothing told twice, whatever the service does meanwhile. */
function survives(fault, disturb) {
  it(`loses nothing and repeats nothing while the service is ${fault}`, async (t) => {
    const { collector, url } = await reportingApplication(t);
    await disturb(collector, () => traffic(url, COUNT, PAUSE_MS));
    await collector.arrived(COUNT);
    row(fault, COUNT, collector.tally());
    assert.deepEqual(collector.tally(), { arrived: COUNT, twice: 0, dropped: 0 });
  });
}

survives('well', (_collector, send) => send());

survives('down for 3 s', async (collector, send) => {
  await collector.stop();
  await send();
  await sleep(3_000);
  await collector.start();
});

survives('slow (1 s an answer)', async (collector, send) => {
  collector.fault = () => sleep(1_000);
  await send();
});

survives('answering 500 thrice', async (collector, send) => {
  collector.fault = inTurn(...Array(3).fill({ status: 500 }));
  await send();
});

survives('answering 503 with Retry-After', async (collector, send) => {
  collector.fault = inTurn({ status: 503, headers: { 'retry-after': '1' } });
  await send();
});

survives('answering 429 with Retry-After', async (collector, send) => {
  collector.fault = inTurn({ status: 429, headers: { 'retry-after': '2' } });
  await send();
  await collector.arrived(COUNT);
  assert.ok(collector.arrivals[1] - collector.arrivals[0] >= 1_990, 'it came back before the service asked it to');
});

survives('killed during a batch', async (collector, send) => {
  collector.fault = inTurn('reset', 'reset');
  await send();
});

survives('killed after it stored a batch', async (collector, send) => {
  collector.fault = inTurn('cut', 'cut');
  await send();
  await collector.until(() => collector.repeated > 0);
});

survives('behind a proxy that refuses large bodies (413)', async (collector, send) => {
  collector.fault = ({ headers }) => (Number(headers['content-length']) > 5_000 ? { status: 413 } : undefined);
  await send();
  await collector.arrived(COUNT);
  assert.ok(collector.attempts > collector.batches.length);
});

it('drops what the queue cannot hold, and says how many with the next batch', async (t) => {
  const { collector, report, url, closed } = await reportingApplication(t, { maxQueueBytes: 50_000 });
  await collector.stop();
  await traffic(url, COUNT);
  await closed();
  await collector.start();
  assert.equal(await report.flush(), true);
  await traffic(url, 1);
  await closed();
  await report.flush();
  const tally = collector.tally();
  row('down, queue of 50 kB', COUNT + 1, tally);
  assert.ok(tally.dropped > 0);
  assert.deepEqual(tally, { arrived: COUNT + 1 - tally.dropped, twice: 0, dropped: tally.dropped });
});

it('does not retry what the service refuses, and counts it', async (t) => {
  const { collector, report, url, closed } = await reportingApplication(t);
  collector.fault = inTurn({ status: 400 });
  await traffic(url, 10);
  await closed();
  await report.flush();
  await traffic(url, 1);
  await closed();
  await report.flush();
  const tally = collector.tally();
  row('answering 400 once', 11, tally);
  assert.equal(collector.attempts, 2);
  assert.deepEqual(tally, { arrived: 1, twice: 0, dropped: 10 });
});

it('costs the application no answer while the service hangs', async (t) => {
  const { collector, url } = await reportingApplication(t);
  collector.fault = () => 'hang';
  const from = performance.now();
  await traffic(url, COUNT);
  assert.ok(performance.now() - from < 5_000);
});
