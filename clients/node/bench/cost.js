'use strict';

// What reporting costs a request, paired: the same Express application with and without it, in turns.
const { fork } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const { join } = require('node:path');

const WARM_UP_ROUNDS = 20;
const ROUNDS = 60;
const REQUESTS = 250;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const headers = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64)',
  accept: 'application/json',
  cookie: 'sid=1',
  'x-trace': '1',
};

function requested(port) {
  return new Promise((resolve, reject) => {
    const from = performance.now();
    const url = `http://127.0.0.1:${port}/orders/17?page=2`;
    http
      .get(url, { agent, headers }, (res) => res.resume().on('end', () => resolve(performance.now() - from)))
      .on('error', reject);
  });
}

async function cpuOf(app) {
  app.send('cpu');
  return (await once(app, 'message'))[0];
}

/** One round of requests to one port. @returns microseconds per request: CPU of the application, and median latency */
async function round(app, port) {
  const latencies = [];
  const before = await cpuOf(app);
  for (let n = 0; n < REQUESTS; n += 1) latencies.push(await requested(port));
  return { cpu: ((await cpuOf(app)) - before) / REQUESTS, latency: median(latencies) * 1_000 };
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

async function measured(app, { plain, reported }) {
  const pairs = [];
  for (let n = 0; n < WARM_UP_ROUNDS + ROUNDS; n += 1) {
    const first = n % 2 ? [reported, plain] : [plain, reported];
    const results = new Map();
    for (const port of first) results.set(port, await round(app, port));
    pairs.push([results.get(plain), results.get(reported)]);
  }
  return pairs.slice(WARM_UP_ROUNDS);
}

function said(name, pairs, field) {
  const plain = median(pairs.map(([one]) => one[field]));
  const more = median(pairs.map(([one, other]) => other[field] - one[field]));
  console.log(
    `${name}: ${plain.toFixed(0)} µs without, ${more.toFixed(1)} µs more with (median of ${pairs.length} pairs)`,
  );
}

async function started(name, env) {
  const child = fork(join(__dirname, name), [], { env: { ...process.env, ...env } });
  const [message] = await once(child, 'message');
  return { child, ...message };
}

async function main() {
  const service = await started('service.js');
  const { child: app, ...ports } = await started('application.js', { ARKYN_DSN: service.dsn });
  const pairs = await measured(app, ports);
  said('latency a request', pairs, 'latency');
  said('CPU a request, sending included', pairs, 'cpu');
  app.send('spans');
  const [{ before, after }] = await once(app, 'message');
  console.log(
    `before the application's own code: ${before.toFixed(1)} µs; once the response has closed: ${after.toFixed(1)} µs`,
  );
  for (const child of [app, service.child]) child.kill();
  agent.destroy();
}

main();
