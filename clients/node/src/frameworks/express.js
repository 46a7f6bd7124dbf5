'use strict';

const { mountTemplateOf, templateOf } = require('../capture/template.js');

/**
 * A middleware for Express 4 and 5, Connect and what else calls `(req, res, next)`.
 *
 * @param {(req: object, res: object) => object | undefined} observe never throws
 */
function middleware(observe) {
  return function arkynReporter(req, res, next) {
    observe(req, res);
    next();
  };
}

/**
 * Notes which route answers a request. Express sets `req.route` when a route matches, and only then do `req.baseUrl`
 * and `req.params` describe the router it stands in: an error restores both on its way out.
 */
function followRoute(req, observation) {
  let route = req.route;
  let mount = { baseUrl: '', params: undefined };
  Object.defineProperty(req, 'route', {
    configurable: true,
    enumerable: true,
    get: () => route,
    set(matched) {
      const baseUrl = this.baseUrl ?? '';
      // Express sets it again when it dispatches the route, whose own parameters stand in `req.params` by then.
      if (matched !== route || baseUrl !== mount.baseUrl) mount = { baseUrl, params: this.params };
      route = matched;
    },
  });
  observation.template = () => fullTemplate(mount, route);
}

function fullTemplate({ baseUrl, params }, route) {
  const template = templateOf(route?.path);
  if (template === undefined) return undefined;
  return `${mountTemplateOf(baseUrl, params)}${template === '/' && baseUrl ? '' : template}`;
}

module.exports = { middleware, followRoute };
