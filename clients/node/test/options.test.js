'use strict';

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const reporter = require('../src/index.js');
const { parseDsn } = require('../src/dsn.js');
const { ignoredPaths } = require('../src/capture/ignored-paths.js');
const { sensitiveNames } = require('../src/capture/sensitive-names.js');

describe('a DSN', () => {
  for (const [dsn, url, token] of [
    ['https://t.o-k_en@host.example/id', 'https://host.example/http-traffic-records/id/batch', 't.o-k_en'],
    ['http://token@[::1]:8000/id/', 'http://[::1]:8000/http-traffic-records/id/batch', 'token'],
    ['https://to%2Fken@host/prefix/id?x=1', 'https://host/prefix/http-traffic-records/id/batch', 'to/ken'],
  ]) {
    it(`${dsn} leads to ${url}`, () => {
      const parsed = parseDsn(dsn);
      assert.deepEqual([String(parsed.url), parsed.token], [url, token]);
    });
  }

  for (const [dsn, message] of [
    ['s3cret', /it is not a URL/],
    ['https://s3cret@/id', /it is not a URL/],
    ['ftp://s3cret@host/id', /neither http/],
    ['https://host/id', /no usable token/],
    ['https://s3cr%0Aet@host/id', /no usable token/],
    ['https://s3cret:more@host/id', /colon/],
    ['https://s3cret@host/', /no traffic source/],
  ]) {
    it(`${dsn} is refused with a reason, which does not repeat it`, () => {
      assert.throws(
        () => parseDsn(dsn),
        (error) =>
          error instanceof TypeError &&
          message.test(error.message) &&
          !/s3cr/.test(JSON.stringify([error.message, error])),
      );
    });
  }
});

describe('an option', () => {
  for (const options of [
    { ignored: [] },
    { ignore: '/a' },
    { redact: [/a/] },
    { domainUrl: 'shop.example' },
    { domainUrl: 'ftp://shop.example' },
    { maxQueueBytes: 0 },
  ]) {
    it(`that cannot be meant is refused: ${JSON.stringify(options)}`, () => {
      assert.throws(() => reporter({ dsn: 'http://t@h/id', ...options }), TypeError);
    });
  }
});

describe('an ignored path', () => {
  for (const [glob, path, ignored] of [
    ['/healthz', '/healthz', true],
    ['/healthz', '/healthz/', false],
    ['/static/*', '/static/a/b.css', true],
    ['/static/*', '/statics', false],
    ['*.css', '/a/b.css', true],
    ['/a/*/c/*', '/a/b/c/d', true],
    ['/a*a', '/a', false],
    ['/a*b*b', '/ab', false],
    ['*', '/anything', true],
    ['/a.c', '/abc', false],
  ]) {
    it(`${glob} ${ignored ? 'matches' : 'does not match'} ${path}`, () => {
      assert.equal(ignoredPaths([glob])(path), ignored);
    });
  }

  it('is found in linear time whatever the client sends', () => {
    const from = performance.now();
    ignoredPaths([`/${'*a'.repeat(50)}*b`])(`/${'a'.repeat(16_000)}`);
    assert.ok(performance.now() - from < 100);
  });
});

describe('a name', () => {
  const isSensitive = sensitiveNames(['X-Customer-Id']);
  for (const name of ['authorization', 'Cookie', 'set-cookie', 'x-api-key', 'access_token', 'auth', 'x_customer_id']) {
    it(`${name} is sensitive`, () => assert.equal(isSensitive(name), true));
  }
  for (const name of ['accept', 'author', 'host', 'x-request-id']) {
    it(`${name} is not sensitive`, () => assert.equal(isSensitive(name), false));
  }

  it('is not remembered without bound', () => {
    for (let n = 0; n < 5_000; n += 1) assert.equal(isSensitive(`x-token-${n}`), true);
  });
});
