'use strict';

// An application that reports once, and has nothing more to do. Then it may report again, when it is about to end.
const reporter = require('../../src/index.js');

const report = () => reporter.report({ status: 200, url: '/job', elapsedMs: 1 });
report();
if (process.env.REPORTS_AGAIN) process.once('beforeExit', () => setTimeout(report, 10));
