'use strict';

// An application whose requests are served in a worker thread, which ends when it is told to.
const { isMainThread, parentPort, Worker } = require('node:worker_threads');

function lead() {
  const worker = new Worker(__filename);
  worker.once('message', (message) => process.send(message));
  process.once('message', () => worker.postMessage('stop'));
  worker.once('exit', () => process.disconnect());
}

function work() {
  const http = require('node:http');
  const reporter = require('../../src/index.js');
  const server = http.createServer(reporter.wrap((_req, res) => res.end()));
  server.listen(0, '127.0.0.1', () => parentPort.postMessage({ port: server.address().port }));
  parentPort.once('message', () => server.close());
}

if (isMainThread) lead();
else work();
