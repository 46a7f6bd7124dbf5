'use strict';

// An application in three processes, which ends when it is told to.
const cluster = require('node:cluster');

function lead() {
  cluster.setupPrimary({ exec: __filename });
  for (let n = 0; n < 3; n += 1) cluster.fork();
  let listening = 0;
  cluster.on('listening', (_worker, { port }) => {
    listening += 1;
    if (listening === 3) process.send({ port });
  });
  process.once('message', () => cluster.disconnect(() => process.disconnect()));
}

function work() {
  const http = require('node:http');
  const reporter = require('../../src/index.js');
  http.createServer(reporter.wrap((_req, res) => res.setHeader('connection', 'close').end())).listen(0, '127.0.0.1');
}

if (cluster.isPrimary) lead();
else work();
