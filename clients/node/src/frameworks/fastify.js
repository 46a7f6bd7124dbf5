'use strict';

const { templateOf } = require('../capture/template.js');

// Fastify reads these: hooks go to the application as a whole, not to a context of their own.
const marks = {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'arkyn-reporter',
  [Symbol.for('plugin-meta')]: { name: 'arkyn-reporter', fastify: '4.x || 5.x' },
};

/**
 * A plugin for Fastify 4 and 5, which follows the requests of the whole application.
 *
 * @param {(req: object, res: object) => object | undefined} observe never throws
 */
function plugin(observe) {
  return marked((instance, _options, done) => {
    instance.addHook('onRequest', (request, reply, next) => {
      const observation = observe(request.raw, reply.raw);
      if (observation) Object.assign(observation, { route: request.routeOptions?.url, template });
      next();
    });
    done();
  });
}

function template({ route }) {
  return templateOf(route);
}

/** Marks a Fastify plugin as this package's. */
function marked(register) {
  return Object.assign(register, marks);
}

module.exports = { plugin, marked };
