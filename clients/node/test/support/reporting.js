'use strict';

const reporter = require('../../src/index.js');
const { collecting } = require('./collector.js');
const { serving } = require('./serving.js');

/** A collector, and a reporter that reports to it. */
async function reporting(t, options = {}) {
  const collector = await collecting(t);
  const report = reporter({ dsn: collector.dsn, ...options });
  return { collector, report };
}

/** Serves what `build(report)` makes, has `visit(server)` call it, and resolves to what arrived. */
async function recordsOf(t, build, visit, options) {
  const { collector, report } = await reporting(t, options);
  const server = await serving(t, await build(report));
  await visit(server);
  await server.closed();
  await report.flush();
  return collector.records;
}

module.exports = { reporting, recordsOf };
