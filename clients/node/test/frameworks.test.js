'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const { describe, it } = require('node:test');
const { recordsOf } = require('./support/reporting.js');
const { get } = require('./support/requesting.js');
const { APPLICATIONS } = require('./support/applications.js');

for (const { name, build, knowsRoutes, fails } of APPLICATIONS) {
  describe(name, () => {
    const visited = (t, visit, options) => recordsOf(t, build, visit, options);

    it('reports a request in the fields of the service', async (t) => {
      const before = Date.now();
      const [record, ...others] = await visited(t, ({ url }) =>
        get(`${url}/orders/17?page=2&tag=a&tag=b`, { headers: { host: 'shop.example:8080', 'x-trace': 'abc' } }),
      );
      assert.deepEqual(others, []);
      assert.equal(record.domainUrl, 'http://shop.example:8080');
      assert.equal(record.pathnameUrl, knowsRoutes ? '/orders/{id}' : '/orders/17');
      assert.equal(record.status, 200);
      assert.equal(record.protocol, 'http');
      assert.equal(record.method, 'GET');
      assert.ok(record.elapsedTime >= 0 && record.elapsedTime < 10_000);
      assert.equal(record.requestHeaders['x-trace'], 'abc');
      assert.deepEqual(record.queryParams, { page: '2', tag: ['a', 'b'] });
      assert.match(record.responseHeaders['content-type'], /^application\/json/);
      assert.ok(record.occurredAt >= before && record.occurredAt <= Date.now());
      assert.match(record.reportId, /^[\da-f]{8}-([\da-f]{4}-){3}[\da-f]{12}$/);
    });

    it('reports an error with the status that the framework sends', async (t) => {
      const statuses = [];
      const records = await visited(t, async ({ url }) => {
        for (const path of fails) statuses.push((await get(`${url}${path}`)).status);
      });
      assert.deepEqual(statuses, Array(fails.length).fill(500));
      assert.deepEqual(
        records.map(({ status }) => status),
        statuses,
      );
    });

    it('reports an unknown path as it was asked for', async (t) => {
      const [record] = await visited(t, ({ url }) => get(`${url}/nowhere/17`));
      assert.deepEqual([record.status, record.pathnameUrl], [404, '/nowhere/17']);
    });

    it('leaves a streamed body as it is', async (t) => {
      let answer;
      const [record] = await visited(t, async ({ url }) => {
        answer = await get(`${url}/echo`, {
          method: 'POST',
          body: 'x'.repeat(300_000),
          headers: { 'content-type': 'text/plain' },
        });
      });
      assert.equal(answer.body, 'x'.repeat(300_000));
      assert.deepEqual([record.status, record.method, record.pathnameUrl], [200, 'POST', '/echo']);
      assert.equal('requestBody' in record || 'responseBody' in record, false);
    });

    it('reports HEAD and 304', async (t) => {
      const records = await visited(t, async ({ url }) => {
        await get(`${url}/orders/17`, { method: 'HEAD' });
        await get(`${url}/unchanged`);
      });
      assert.deepEqual(
        records.map(({ method, status }) => `${method} ${status}`),
        ['HEAD 200', 'GET 304'],
      );
    });

    it('reports 499 where the client went away before there was an answer', async (t) => {
      const records = await visited(t, async ({ url, server }) => {
        const arrived = new Promise((resolve) => server.once('request', resolve));
        const request = http.get(`${url}/never`).on('error', () => undefined);
        await arrived;
        request.destroy();
      });
      assert.deepEqual(
        records.map(({ status }) => status),
        [499],
      );
    });

    it('reports the status that was sent where the client went away during the answer', async (t) => {
      const records = await visited(t, async ({ url }) => {
        const response = await new Promise((resolve) => http.get(`${url}/endless`, resolve));
        await new Promise((resolve) => response.once('data', resolve));
        response.destroy();
      });
      assert.deepEqual(
        records.map(({ status }) => status),
        [200],
      );
    });

    it('redacts secrets, and what the application calls one', async (t) => {
      const headers = {
        authorization: 'Bearer s3cret',
        cookie: 'a=s3cret',
        'x-customer': 's3cret',
        referer: 'http://a/b?c=s3cret',
      };
      const [record] = await visited(t, ({ url }) => get(`${url}/orders/17?access_token=s3cret&q=1`, { headers }), {
        redact: ['X-Customer'],
      });
      assert.equal(JSON.stringify(record).includes('s3cret'), false);
      assert.equal(record.requestHeaders.authorization, '[redacted]');
      assert.equal(record.responseHeaders['set-cookie'], '[redacted]');
      assert.equal(record.queryParams.q, '1');
    });

    it('leaves out ignored paths', async (t) => {
      const records = await visited(
        t,
        async ({ url }) => {
          await get(`${url}/orders/18?x=1`);
          await get(`${url}/nowhere`);
        },
        { ignore: ['/orders/*'] },
      );
      assert.deepEqual(
        records.map(({ pathnameUrl }) => pathnameUrl),
        ['/nowhere'],
      );
    });
  });
}
