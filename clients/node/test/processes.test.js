'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { collecting } = require('./support/collector.js');
const { running, servingIn } = require('./support/application.js');
const { faultTable } = require('./support/fault-table.js');
const { traffic } = require('./support/traffic.js');

const COUNT = 500;
const row = faultTable();

async function timed(promise) {
  const from = performance.now();
  const result = await promise;
  return { ...result, ms: performance.now() - from };
}

describe('an application that ends', () => {
  for (const [name, app] of Object.entries({
    'by itself': 'server.js',
    'with three cluster workers': 'cluster.js',
    'with a worker thread': 'threads.js',
  })) {
    it(`${name} has sent everything`, async (t) => {
      const collector = await collecting(t);
      const child = await servingIn(t, app, { ARKYN_DSN: collector.dsn });
      await traffic(child.url, COUNT);
      child.send('stop');
      assert.deepEqual(await child.ended, { code: 0, signal: null, stderr: '' });
      row(`application ends ${name}`, COUNT, collector.tally());
      assert.deepEqual(collector.tally(), { arrived: COUNT, twice: 0, dropped: 0 });
    });
  }

  it('by its own handler of SIGTERM has sent everything', async (t) => {
    const collector = await collecting(t);
    const child = await servingIn(t, 'server.js', { ARKYN_DSN: collector.dsn, DRAINS: '1' });
    await traffic(child.url, COUNT);
    child.kill('SIGTERM');
    assert.deepEqual(await child.ended, { code: 0, signal: null, stderr: '' });
    row('application ends by SIGTERM that it handles', COUNT, collector.tally());
    assert.deepEqual(collector.tally(), { arrived: COUNT, twice: 0, dropped: 0 });
  });

  it('reports what it did while it was about to end', async (t) => {
    const collector = await collecting(t);
    const { code } = await running(t, 'job.js', { ARKYN_DSN: collector.dsn, REPORTS_AGAIN: '1' }).ended;
    assert.equal(code, 0);
    assert.equal(collector.records.length, 2);
  });
});

describe('an application that is killed', () => {
  it('by SIGTERM without a handler ends at once', async (t) => {
    const collector = await collecting(t);
    const child = await servingIn(t, 'server.js', { ARKYN_DSN: collector.dsn });
    await traffic(child.url, 10);
    child.kill('SIGTERM');
    const { signal, ms } = await timed(child.ended);
    assert.equal(signal, 'SIGTERM');
    assert.ok(ms < 1_000);
  });

  it('by SIGKILL loses what it gathered last, and repeats nothing', async (t) => {
    const collector = await collecting(t);
    const child = await servingIn(t, 'server.js', { ARKYN_DSN: collector.dsn });
    await traffic(child.url, COUNT, 15);
    await collector.arrived(1);
    child.kill('SIGKILL');
    assert.equal((await child.ended).signal, 'SIGKILL');
    const tally = collector.tally();
    row('application killed by SIGKILL', COUNT, tally);
    assert.ok(tally.arrived > 0 && tally.arrived <= COUNT);
    assert.equal(tally.twice, 0);
  });
});

describe('the process ends within the bound', () => {
  it('where the service is not there', async (t) => {
    const { code, ms } = await timed(running(t, 'job.js', { ARKYN_DSN: 'http://token@127.0.0.1:9/id' }).ended);
    assert.equal(code, 0);
    assert.ok(ms < 3_500, `${ms} ms`);
  });

  it('where the service hangs', async (t) => {
    const collector = await collecting(t);
    collector.fault = () => 'hang';
    const { code, ms } = await timed(running(t, 'job.js', { ARKYN_DSN: collector.dsn }).ended);
    assert.equal(code, 0);
    assert.ok(ms > 1_900 && ms < 3_500, `${ms} ms`);
  });

  it('at once where there is no DSN, with one warning', async (t) => {
    const { code, stderr } = await running(t, 'job.js', { ARKYN_DSN: '' }).ended;
    assert.equal(code, 0);
    assert.equal(stderr.match(/There is no DSN/g).length, 1);
  });

  it('at once where the DSN is malformed, with one warning that does not repeat it', async (t) => {
    const { code, stderr } = await running(t, 'job.js', { ARKYN_DSN: 'http://s3cret@host' }).ended;
    assert.equal(code, 0);
    assert.equal(stderr.match(/The DSN must look like .* Nothing is reported\./g).length, 1);
    assert.doesNotMatch(stderr, /s3cret/);
  });
});
