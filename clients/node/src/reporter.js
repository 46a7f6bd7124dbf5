'use strict';

const { observer } = require('./capture/observe.js');
const { recordOfCall, recordOfExchange } = require('./capture/record.js');
const { parseDsn } = require('./dsn.js');
const express = require('./frameworks/express.js');
const fastify = require('./frameworks/fastify.js');
const { wrapListener } = require('./frameworks/http.js');
const { guarded } = require('./guard.js');
const { readOptions } = require('./options.js');
const { Pipeline } = require('./pipeline.js');
const { warningsOnce } = require('./warnings.js');

const DEFAULT_FLUSH_MS = 2_000;
const warnOnce = warningsOnce();

/**
 * Makes a reporter: a middleware for Express and Connect that carries the other ways in.
 * Throws a TypeError for a malformed option. Without a DSN, or with a malformed one, it does nothing, and says so once:
 * the environment, unlike the code, must not keep the application from starting.
 *
 * @type {typeof import('./index.js')}
 */
function createReporter(given) {
  const options = readOptions(given);
  try {
    if (options.dsn) return assembled(options, parseDsn(options.dsn));
    warnOnce('dsn', 'There is no DSN: nothing is reported. Set ARKYN_DSN, or call reporter({ dsn }).');
  } catch (error) {
    warnOnce('dsn', `${error.message} Nothing is reported.`);
  }
  return idle();
}

function assembled(options, address) {
  const warn = warningsOnce();
  const pipeline = new Pipeline(address, { ...options, warnOnce: warn });
  const report = guarded(
    (req, res, observation) => pipeline.add(recordOfExchange(req, res, observation, options)),
    warn,
  );
  // One key per traffic source: a request that several reporters of it see is reported once.
  const observe = observer({ key: Symbol.for(`arkyn-reporter ${address.url}`), isIgnored: options.isIgnored, report });
  const follow = guarded((req, res) => followed(observe, req, res), warn);
  return Object.assign(express.middleware(follow), {
    wrap: (listener) => wrapListener(follow, listener),
    fastify: fastify.plugin(guarded(observe, warn)),
    report: guarded((call) => pipeline.add(recordOfCall(call, options)), warn),
    flush: (timeoutMs = DEFAULT_FLUSH_MS) => pipeline.flush(timeoutMs),
  });
}

function followed(observe, req, res) {
  const observation = observe(req, res);
  if (observation && !observation.template) express.followRoute(req, observation);
  return observation;
}

function idle() {
  const ignore = () => undefined;
  return Object.assign(express.middleware(ignore), {
    wrap: (listener) => listener,
    fastify: fastify.marked((_instance, _options, done) => done()),
    report: ignore,
    flush: () => Promise.resolve(true),
  });
}

module.exports = { createReporter };
