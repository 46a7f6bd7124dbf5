'use strict';

const { marked } = require('./frameworks/fastify.js');
const { createReporter } = require('./reporter.js');

let shared;

/** The reporter of `ARKYN_DSN`, made when it is first used. */
function sharedReporter() {
  shared ??= createReporter();
  return shared;
}

function reporter(options) {
  return createReporter(options);
}

module.exports = Object.assign(reporter, {
  reporter,
  default: reporter,
  wrap: (listener) => sharedReporter().wrap(listener),
  fastify: marked((instance, options, done) => sharedReporter().fastify(instance, options, done)),
  report: (call) => sharedReporter().report(call),
  flush: (timeoutMs) => sharedReporter().flush(timeoutMs),
});
