'use strict';

// The application of the benchmark: served twice, once plain and once reported.
const { EventEmitter } = require('node:events');
const express = require('express');
const reporter = require('../src/index.js');

const SPANS = 20_000;
const report = reporter();

function application(...middlewares) {
  const app = express();
  for (const middleware of middlewares) app.use(middleware);
  app.get('/orders/:id', (req, res) => res.json({ id: req.params.id }));
  return app;
}

/** @returns microseconds that the middleware and the report take by themselves, called with a stand-in for a request */
function spans() {
  const headers = {
    host: 'shop.example',
    accept: '*/*',
    'user-agent': 'Mozilla/5.0 (X11; Linux x86_64)',
    cookie: 'sid=1',
  };
  const total = { before: 0, after: 0 };
  for (let n = 0; n < SPANS; n += 1) {
    const req = { headers, method: 'GET', url: '/orders/17?page=2', socket: {} };
    const head = `HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 11\r\nETag: W/"b-Ai2R8hgEarLmHKwesT1qcY913ys"\r\nDate: Mon, 21 Jul 2025 14:30:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n`;
    const res = Object.assign(new EventEmitter(), { _header: head, headersSent: true, statusCode: 200 });
    const from = performance.now();
    report(req, res, () => undefined);
    const between = performance.now();
    req.route = { path: '/orders/:id' };
    res.emit('close');
    total.before += between - from;
    total.after += performance.now() - between;
  }
  return { before: (total.before / SPANS) * 1_000, after: (total.after / SPANS) * 1_000 };
}

function served(app) {
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });
}

function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function main() {
  const plain = await served(application());
  const reported = await served(application(report));
  process.on('message', (question) => process.send(question === 'cpu' ? cpu() : spans()));
  process.send({ plain, reported });
}

main();
