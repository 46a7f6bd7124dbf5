'use strict';

// An application that serves until it is told to stop, or ended. ARKYN_DSN says where it reports to.
const http = require('node:http');
const reporter = require('../../src/index.js');

const server = http.createServer(reporter.wrap((_req, res) => res.end()));
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.once('message', () => process.disconnect());
process.once('disconnect', () => server.close());
if (process.env.DRAINS) process.once('SIGTERM', () => process.disconnect());
