'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const http2 = require('node:http2');
const net = require('node:net');
const { describe, it } = require('node:test');
const { recordsOf, reporting } = require('./support/reporting.js');
const { get, raw } = require('./support/requesting.js');
const { serving } = require('./support/serving.js');

const statuses = (records) => records.map(({ status }) => status);
const answering = (answer) => (report) => report.wrap((req, res) => answer(res, req));

describe('what HTTP really shows', () => {
  it('is told by response headers in every form that writeHead takes', async (t) => {
    const forms = [
      (res) => res.writeHead(200, ['X-One', '1', 'X-Two', '2', 'X-Two', '3']),
      (res) => res.writeHead(200, 'Fine', { 'X-One': '1', 'X-Two': ['2', '3'] }),
      (res) => res.setHeader('X-One', '1').setHeader('X-Two', ['2', '3']).writeHead(200),
    ];
    const records = await recordsOf(
      t,
      answering((res, req) => forms[Number(req.url.slice(1))](res).end()),
      async ({ url }) => {
        for (const form of forms.keys()) await get(`${url}/${form}`);
      },
    );
    assert.equal(records.length, 3);
    for (const { responseHeaders } of records) {
      assert.equal(responseHeaders['x-one'], '1');
      assert.deepEqual(responseHeaders['x-two'], ['2', '3']);
    }
  });

  it('holds trailers, informational answers and chunked bodies, all untouched', async (t) => {
    let answer;
    const records = await recordsOf(
      t,
      answering((res) => {
        res.writeEarlyHints?.({ link: '</a.css>; rel=preload' });
        res.writeHead(200, { trailer: 'x-sum' });
        res.write('body');
        res.addTrailers({ 'x-sum': '42' });
        res.end();
      }),
      async ({ port }) => (answer = await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')),
    );
    assert.match(answer, /4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n$/);
    assert.deepEqual(statuses(records), [200]);
  });

  it('is reported once per pipelined request', async (t) => {
    const text = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`).join('');
    const records = await recordsOf(
      t,
      answering((res, req) => setImmediate(() => res.end(req.url))),
      ({ port }) => raw(port, `${text}GET /4 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`),
    );
    assert.deepEqual(
      records.map(({ pathnameUrl }) => pathnameUrl),
      ['/1', '/2', '/3', '/4'],
    );
  });

  it('includes targets and hosts that no URL can hold', async (t) => {
    const heads = [
      'OPTIONS * HTTP/1.1\r\nhost: a',
      'GET http://other.example/path?q=1 HTTP/1.1\r\nhost: shop.example',
      'GET // HTTP/1.1\r\nhost: a b',
      'GET /?%E0%A4%A=%ff&__proto__=1&&= HTTP/1.1\r\nhost: [::1]:80',
      'GET / HTTP/1.1\r\nhost: a:99999',
      'GET / HTTP/1.0',
    ];
    const records = await recordsOf(
      t,
      answering((res) => res.end()),
      async ({ port }) => {
        for (const head of heads) await raw(port, `${head}\r\nconnection: close\r\n\r\n`);
      },
    );
    assert.deepEqual(
      records.map(({ domainUrl, pathnameUrl }) => `${domainUrl} ${pathnameUrl}`),
      [
        'http://a /*'.replace('/*', '*'),
        'http://shop.example /path',
        'http://unknown.invalid //',
        'http://[::1]:80 /',
        'http://unknown.invalid /',
        'http://unknown.invalid /',
      ],
    );
  });

  it('is cut where headers are huge', async (t) => {
    const [record] = await recordsOf(
      t,
      answering((res) => {
        for (let index = 0; index < 500; index += 1) res.setHeader(`x-${index}`, 'v'.repeat(2_000));
        res.end();
      }),
      ({ url }) => get(`${url}/${'p'.repeat(10_000)}`, { maxHeaderSize: 10_000_000 }),
    );
    assert.equal(record.status, 200);
    assert.equal(record.pathnameUrl.length, 2_048);
    assert.equal('responseHeaders' in record, false);
  });

  it('is reported as 500 where the application destroys the response with an error', async (t) => {
    const records = await recordsOf(
      t,
      answering((res) => res.destroy(new Error('broken'))),
      ({ url }) => get(url).catch(() => undefined),
    );
    assert.deepEqual(statuses(records), [500]);
  });

  it('leaves WebSockets out, and other upgrades in', async (t) => {
    const records = await recordsOf(
      t,
      answering((res) => res.end()),
      async ({ url }) => {
        await get(url, { headers: { connection: 'close, upgrade', upgrade: 'WebSocket' } });
        await get(`${url}/h2c`, { headers: { connection: 'close, upgrade', upgrade: 'h2c' } });
      },
    );
    assert.deepEqual(
      records.map(({ pathnameUrl }) => pathnameUrl),
      ['/h2c'],
    );
  });

  it('is reported where it comes by HTTP/2', async (t) => {
    const { collector, report } = await reporting(t);
    const server = http2.createServer(report.wrap((_req, res) => res.writeHead(201, { 'x-one': '1' }).end('{}')));
    const { url, closed } = await serving(t, undefined, server);
    const session = http2.connect(url);
    await session.request({ ':path': '/orders?q=1', authorization: 'Bearer s3cret' }).resume().toArray();
    session.close();
    await closed();
    await report.flush();
    const [record] = collector.records;
    assert.deepEqual([record.status, record.pathnameUrl, record.domainUrl], [201, '/orders', url]);
    assert.equal(record.responseHeaders['x-one'], '1');
    assert.equal(JSON.stringify(record).includes('s3cret') || ':path' in record.requestHeaders, false);
  });
});

describe('an error of the application', () => {
  it('passes a wrapped listener unchanged, and is reported as 500 where nothing was sent', async (t) => {
    const thrown = new Error('thrown');
    let caught;
    const records = await recordsOf(
      t,
      (report) => {
        const listener = report.wrap(() => {
          throw thrown;
        });
        return (req, res) => {
          try {
            listener(req, res);
          } catch (error) {
            caught = error;
            res.destroy();
          }
        };
      },
      ({ url }) => get(url).catch(() => undefined),
    );
    assert.equal(caught, thrown);
    assert.deepEqual(statuses(records), [500]);
  });

  it('leaves the promise of a wrapped listener to the application', async (t) => {
    const rejected = Promise.reject(new Error('rejected'));
    const { report } = await reporting(t);
    const listener = report.wrap(() => rejected);
    assert.equal(listener({ headers: {}, url: '/' }, { once: () => undefined }), rejected);
    await assert.rejects(rejected, /rejected/);
  });
});

describe('an error of the reporter', () => {
  it('does not reach the application', async (t) => {
    const { report } = await reporting(t);
    const broken = new Proxy({}, { get: () => assert.fail('broken') });
    let calls = 0;
    report(broken, broken, () => (calls += 1));
    report.wrap(() => (calls += 1))(broken, broken);
    for (const call of [
      undefined,
      {},
      { status: 'x', url: '/', elapsedMs: 1 },
      { status: 200, url: 'http://', elapsedMs: 1 },
    ]) {
      report.report(call);
    }
    assert.equal(calls, 2);
  });

  it('does not take part when a connection is cut in the middle of a request', async (t) => {
    const records = await recordsOf(
      t,
      (report) => report.wrap((req, res) => req.on('error', () => undefined).pipe(res)),
      async ({ port, server }) => {
        const arrived = new Promise((resolve) => server.once('request', resolve));
        const socket = net.connect(port, '127.0.0.1', () =>
          socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n'),
        );
        await arrived;
        socket.destroy();
      },
    );
    assert.deepEqual(statuses(records), [499]);
  });
});

it('takes the address from a proxy only where it is trusted', async (t) => {
  const visit = ({ url }) =>
    get(url, { headers: { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example, b' } });
  const build = answering((res) => res.end());
  const addresses = [];
  for (const options of [{ trustProxy: true }, { domainUrl: 'https://fixed.example/x' }]) {
    const [record] = await recordsOf(t, build, visit, options);
    addresses.push(record.domainUrl);
  }
  const [untrusted] = await recordsOf(t, build, visit);
  assert.deepEqual(addresses, ['https://shop.example', 'https://fixed.example']);
  assert.match(untrusted.domainUrl, /^http:\/\/127\.0\.0\.1:/);
});

it('reports what the application reports by itself', async (t) => {
  const { collector, report } = await reporting(t);
  report.report({ status: 502, method: 'post', url: 'https://api.example/pay?token=s3cret&n=1', elapsedMs: 12.3456 });
  report.report({ status: 200, url: '/job', elapsedMs: 0, occurredAt: new Date(1_700_000_000_000) });
  assert.equal(await report.flush(), true);
  const [first, second] = collector.records;
  assert.deepEqual(
    [first.domainUrl, first.pathnameUrl, first.status, first.protocol, first.method, first.elapsedTime],
    ['https://api.example', '/pay', 502, 'https', 'post', 12.346],
  );
  assert.deepEqual(first.queryParams, { token: '[redacted]', n: '1' });
  assert.deepEqual(
    [second.pathnameUrl, second.occurredAt, second.domainUrl],
    ['/job', 1_700_000_000_000, 'http://localhost'],
  );
});

it('follows requests of http.Server with keep-alive, each by itself', async (t) => {
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const records = await recordsOf(
    t,
    answering((res) => res.end()),
    async ({ url }) => {
      for (let n = 0; n < 20; n += 1) await get(`${url}/${n}`, { agent });
    },
  );
  assert.equal(new Set(records.map(({ pathnameUrl }) => pathnameUrl)).size, 20);
});
