'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const { it } = require('node:test');
const express = require('express');
const Fastify = require('fastify4');
const reporter = require('../src/index.js');
const { collecting } = require('./support/collector.js');
const { get } = require('./support/requesting.js');
const { serving } = require('./support/serving.js');

const paths = (collector) => collector.records.map(({ pathnameUrl }) => pathnameUrl);

it('the module itself is a reporter of ARKYN_DSN, in all its ways in', async (t) => {
  const collector = await collecting(t);
  process.env.ARKYN_DSN = collector.dsn;
  t.after(() => delete process.env.ARKYN_DSN);

  const { url, closed } = await serving(t, reporter.wrap(express().get('/express/:id', (_req, res) => res.end())));
  await get(`${url}/express/1`);
  await closed();

  const app = Fastify({ forceCloseConnections: true });
  app.get('/fastify/:id', async () => ({}));
  app.register(reporter.fastify);
  t.after(() => app.close());
  await get(`${await app.listen({ host: '127.0.0.1', port: 0 })}/fastify/1`);
  await app.close();

  reporter().report({ status: 200, url: '/job', elapsedMs: 1 });
  assert.equal(await reporter.flush(), true);
  assert.deepEqual(paths(collector), ['/express/{id}', '/fastify/{id}', '/job']);
});

it('reporters of one traffic source report a request once, those of two each', async (t) => {
  const [one, other] = [await collecting(t), await collecting(t)];
  const reports = [one, one, other].map(({ dsn }) => reporter({ dsn }));
  const app = express();
  app.use(...reports);
  app.use(
    '/api',
    express().get('/orders/:id', (_req, res) => res.end()),
  );
  const { url, closed } = await serving(t, app);
  await get(`${url}/api/orders/1`);
  await closed();
  await Promise.all(reports.map((report) => report.flush()));
  assert.deepEqual([paths(one), paths(other)], [['/api/orders/{id}'], ['/api/orders/{id}']]);
});

it('a reporter without a DSN leaves everything as it is', async (t) => {
  const report = reporter();
  const listener = (_req, res) => res.end('as it is');
  assert.equal(report.wrap(listener), listener);
  report.report({ status: 200, url: '/', elapsedMs: 1 });
  assert.equal(await report.flush(), true);
  const app = Fastify();
  await app.register(report.fastify);
  await app.close();
  const { url } = await serving(t, express().use(report, listener));
  assert.equal((await get(url)).body, 'as it is');
});

it('a request that a test injects into Fastify is reported, too', async (t) => {
  const collector = await collecting(t);
  const report = reporter({ dsn: collector.dsn });
  const app = Fastify();
  app.register(report.fastify);
  app.get('/orders/:id', async () => ({}));
  assert.equal((await app.inject('/orders/1')).statusCode, 200);
  await app.close();
  await report.flush();
  assert.deepEqual(paths(collector), ['/orders/{id}']);
});

it('a listener that never answers keeps no report back from the others', async (t) => {
  const collector = await collecting(t);
  const report = reporter({ dsn: collector.dsn });
  const { url } = await serving(
    t,
    report.wrap((req, res) => req.url === '/never' || res.end()),
  );
  const request = http.get(`${url}/never`).on('error', () => undefined);
  t.after(() => request.destroy());
  await get(`${url}/now`);
  await collector.arrived(1);
  assert.deepEqual(paths(collector), ['/now']);
});
