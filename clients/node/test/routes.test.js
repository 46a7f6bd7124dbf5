'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const { describe, it } = require('node:test');
const express4 = require('express4');
const express5 = require('express');
const { templateOf, mountTemplateOf } = require('../src/capture/template.js');
const { recordsOf } = require('./support/reporting.js');
const { get } = require('./support/requesting.js');

process.env.NODE_ENV = 'test';

async function pathsOf(t, build, paths) {
  const records = await recordsOf(t, build, async ({ url }) => {
    for (const path of paths) await get(`${url}${path}`);
  });
  return records.map(({ pathnameUrl }) => pathnameUrl);
}

for (const [name, express] of Object.entries({ 'Express 4': express4, 'Express 5': express5 })) {
  describe(`the route of ${name}`, () => {
    function nested(report) {
      const items = express.Router();
      items.get('/', (_req, res) => res.end());
      items.get('/:item', (_req, res) => res.end());
      items.get('/:item/throws', () => {
        throw new Error('thrown');
      });
      const app = express();
      app.use(report);
      app.use('/shop/users/:user/items', items);
      return app;
    }

    it('names the parameters of the routers it is mounted in', async (t) => {
      const paths = await pathsOf(t, nested, [
        '/shop/users/7/items/3?x=1',
        '/shop/users/7/items',
        '/shop/users/7/items/',
      ]);
      assert.deepEqual(paths, ['/shop/users/{user}/items/{item}', ...Array(2).fill('/shop/users/{user}/items')]);
    });

    it('is whole where an error leaves the router', async (t) => {
      assert.deepEqual(await pathsOf(t, nested, ['/shop/users/7/items/3/throws']), [
        '/shop/users/{user}/items/{item}/throws',
      ]);
    });

    it('is the one that answers, where several match', async (t) => {
      const build = (report) => {
        const app = express();
        app.use(report);
        app.all(/.*/, (_req, _res, next) => next());
        app.get('/orders/new', (_req, _res, next) => next('route'));
        app.get('/orders/:id', (_req, res) => res.end());
        return app;
      };
      assert.deepEqual(await pathsOf(t, build, ['/orders/new', '/else']), ['/orders/{id}', '/else']);
    });

    it('is known where the listener is wrapped instead', async (t) => {
      const build = (report) => {
        const app = express();
        app.get('/orders/:id', (req, res) => res.end(req.route.path));
        return report.wrap(app);
      };
      assert.deepEqual(await pathsOf(t, build, ['/orders/7']), ['/orders/{id}']);
    });

    it('is reported once where the listener is wrapped and the middleware is used', async (t) => {
      const build = (report) => {
        const app = express();
        app.use(report, report);
        app.get('/orders/:id', (_req, res) => res.end());
        return report.wrap(report.wrap(app));
      };
      assert.deepEqual(await pathsOf(t, build, ['/orders/7']), ['/orders/{id}']);
    });

    it('stays readable and writable for the application', async (t) => {
      let seen;
      const build = (report) => {
        const app = express();
        app.use(report);
        app.get('/orders/:id', (req, res) => {
          seen = { path: req.route.path, keys: Object.keys(req).includes('route') };
          req.route = undefined;
          res.end(String(req.route));
        });
        return app;
      };
      assert.deepEqual(await pathsOf(t, build, ['/orders/7']), ['/orders/7']);
      assert.deepEqual(seen, { path: '/orders/:id', keys: true });
    });

    it('is reported whole though the middleware stands in a router', async (t) => {
      const build = (report) => {
        const app = express();
        const router = express.Router();
        router.use(report);
        router.get('/orders/:id', (_req, res) => res.end());
        return app.use('/api', router);
      };
      assert.deepEqual(await pathsOf(t, build, ['/api/orders/7']), ['/api/orders/{id}']);
    });
  });
}

describe('a template', () => {
  for (const [path, template] of Object.entries({
    '/': '/',
    '/orders/:id': '/orders/{id}',
    '/orders/:id(\\d+)/items/:item?': '/orders/{id}/items/{item}',
    '/:id([0-9a-f]{24})': '/{id}',
    '/:id((?:a|b)+)/c': '/{id}/c',
    '/orders{/:id}': '/orders/{id}',
    '/files/*path': '/files/{path}',
    '/files/*': '/files/*',
    '/:from-:to.:ext': '/{from}-{to}.{ext}',
    '/:"odd name"': '/{odd name}',
    '*': undefined,
    '/*': undefined,
    '/*splat': undefined,
    '/{*splat}': undefined,
    '{/*splat}': undefined,
    '(.*)': undefined,
  })) {
    it(`of ${path} is ${template}`, () => assert.equal(templateOf(path), template));
  }

  it('needs a path that is text', () => {
    for (const path of [undefined, /orders/, ['/a', '/b']]) assert.equal(templateOf(path), undefined);
  });

  it('of a mount replaces the last segment with a parameter’s value', () => {
    assert.equal(mountTemplateOf('/users/users', { id: 'users' }), '/users/{id}');
    assert.equal(mountTemplateOf('/a%20b/x', { id: 'a b', other: undefined }), '/{id}/x');
    assert.equal(mountTemplateOf('', undefined), '');
  });
});

it('gives a listener its own this, arguments and result', async (t) => {
  let seen;
  await recordsOf(
    t,
    (report) => {
      const listener = report.wrap(function listener(_req, res, ...rest) {
        seen = { self: this, rest };
        res.end();
        return 'result';
      });
      return function outer(req, res) {
        seen = { ...seen, result: listener.call(this, req, res, 1) };
        seen = { ...seen, server: this instanceof http.Server };
      };
    },
    ({ url }) => get(url),
  );
  assert.equal(seen.result, 'result');
  assert.equal(seen.server, true);
});
