'use strict';

const { marked } = require('./frameworks/fastify.js');
const { createReporter } = require('./reporter.js');

let shared = { dsn: undefined, report: undefined };

/** The reporter of `ARKYN_DSN`, made when it is first used; another one where the application sets that later. */
function sharedReporter() {
  const dsn = process.env.ARKYN_DSN;
  if (!shared.report || shared.dsn !== dsn) shared = { dsn, report: createReporter() };
  return shared.report;
}

function reporter(options) {
  return options === undefined ? sharedReporter() : createReporter(options);
}

module.exports = Object.assign(reporter, {
  reporter,
  default: reporter,
  wrap: (listener) => sharedReporter().wrap(listener),
  fastify: marked((instance, options, done) => sharedReporter().fastify(instance, options, done)),
  report: (call) => sharedReporter().report(call),
  flush: (timeoutMs) => sharedReporter().flush(timeoutMs),
});
