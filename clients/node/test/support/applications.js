'use strict';

// Connect prints errors otherwise, and reads this when it is loaded.
process.env.NODE_ENV = 'test';

const connect = require('connect');
const express4 = require('express4');
const express5 = require('express');

const NODE_MAJOR = Number(process.versions.node.split('.')[0]);
const COOKIE = 'sid=s3cret';

/** The same application in each framework. `build(report)` gives a listener; the paths in `fails` answer 500. */
const APPLICATIONS = [
  { name: 'Express 4', build: onExpress(express4), knowsRoutes: true, fails: ['/throws', '/next-error'] },
  { name: 'Express 5', build: onExpress(express5), knowsRoutes: true, fails: ['/throws', '/next-error', '/rejects'] },
  { name: 'Connect', build: onConnect, knowsRoutes: false, fails: ['/throws', '/next-error'] },
  { name: 'node:http', build: onHttp, knowsRoutes: false, fails: ['/fails'] },
  { name: 'Fastify 4', build: onFastify('fastify4'), knowsRoutes: true, fails: ['/throws', '/rejects'] },
];
// Fastify 5 needs Node.js 20.
if (NODE_MAJOR >= 20) {
  APPLICATIONS.push({
    name: 'Fastify 5',
    build: onFastify('fastify'),
    knowsRoutes: true,
    fails: ['/throws', '/rejects'],
  });
}

function onExpress(express) {
  return (report) => {
    const app = express();
    app.use(report);
    app.get('/orders/:id', (req, res) => res.setHeader('set-cookie', COOKIE).json({ id: req.params.id }));
    app.get('/throws', () => {
      throw new Error('thrown');
    });
    app.get('/rejects', async () => {
      throw new Error('rejected');
    });
    app.get('/next-error', (_req, _res, next) => next(new Error('handed on')));
    app.post('/echo', (req, res) => req.pipe(res));
    app.get('/unchanged', (_req, res) => res.status(304).end());
    app.get('/never', () => undefined);
    app.get('/endless', (_req, res) => res.write('first'));
    return app;
  };
}

function onConnect(report) {
  const app = connect();
  app.use(report);
  app.use('/throws', () => {
    throw new Error('thrown');
  });
  app.use('/next-error', (_req, _res, next) => next(new Error('handed on')));
  app.use((req, res, next) => plain(req, res) || next());
  return Object.assign((...args) => app(...args), {});
}

function onHttp(report) {
  return report.wrap((req, res) => plain(req, res) || res.writeHead(404).end());
}

/** @returns {boolean} whether the path is one of the application's */
function plain(req, res) {
  const path = (req.originalUrl ?? req.url).split('?')[0];
  if (path === '/orders/17') res.writeHead(200, { 'Content-Type': 'application/json', 'Set-Cookie': COOKIE }).end('{}');
  else if (path === '/orders/18') res.end();
  else if (path === '/fails') res.writeHead(500).end();
  else if (path === '/echo') req.pipe(res);
  else if (path === '/unchanged') res.writeHead(304).end();
  else if (path === '/endless') res.write('first');
  else return path === '/never';
  return true;
}

function onFastify(name) {
  return async (report) => {
    const app = require(name)({ forceCloseConnections: true });
    app.register(report.fastify);
    app.addContentTypeParser('text/plain', (_request, payload, done) => done(null, payload));
    app.get('/orders/:id', (request, reply) => reply.header('set-cookie', COOKIE).send({ id: request.params.id }));
    app.get('/throws', () => {
      throw new Error('thrown');
    });
    app.get('/rejects', async () => {
      throw new Error('rejected');
    });
    app.post('/echo', (request, reply) => reply.send(request.body));
    app.get('/unchanged', (_request, reply) => reply.code(304).send());
    app.get('/never', () => undefined);
    app.get('/endless', (_request, reply) => {
      reply.hijack();
      reply.raw.write('first');
    });
    await app.ready();
    return (req, res) => app.routing(req, res);
  };
}

module.exports = { APPLICATIONS };
