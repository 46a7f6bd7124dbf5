'use strict';

const { mountTemplateOf, templateOf } = require('../capture/template.js');

const FOLLOWED = Symbol('arkyn-reporter route');

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
  observation.route = followedOf(req);
  observation.template = fullTemplate;
}

function followedOf(req) {
  if (req[FOLLOWED]) return req[FOLLOWED];
  const followed = { route: req.route, baseUrl: '', params: undefined };
  req[FOLLOWED] = followed;
  Object.defineProperty(req, 'route', ROUTE);
  return followed;
}

// One object for all requests: a getter of its own would give each request a hidden class of its own, which slows the
// whole application down.
const ROUTE = {
  configurable: true,
  enumerable: true,
  get() {
    return this[FOLLOWED].route;
  },
  set(route) {
    const followed = this[FOLLOWED];
    const baseUrl = this.baseUrl ?? '';
    // Express sets it again when it dispatches the route, whose own parameters stand in `req.params` by then.
    if (route !== followed.route || baseUrl !== followed.baseUrl) {
      followed.baseUrl = baseUrl;
      followed.params = this.params;
    }
    followed.route = route;
  },
};

function fullTemplate({ route: { baseUrl, params, route } }) {
  const template = templateOf(route?.path);
  if (template === undefined) return undefined;
  return `${mountTemplateOf(baseUrl, params)}${template === '/' && baseUrl ? '' : template}`;
}

module.exports = { middleware, followRoute };
