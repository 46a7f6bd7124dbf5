'use strict';

/**
 * Wraps a listener of `node:http`. The wrapped one returns and throws what the listener does.
 *
 * @param {(req: object, res: object) => object | undefined} observe never throws
 * @param {(req: object, res: object) => unknown} listener
 */
function wrapListener(observe, listener) {
  return function arkynReporter(req, res, ...rest) {
    const observation = observe(req, res);
    let returned = false;
    // No catch: an error that is thrown again loses the place it came from in what Node.js prints.
    try {
      const result = listener.call(this, req, res, ...rest);
      returned = true;
      return result;
    } finally {
      if (!returned && observation) observation.failed = true;
    }
  };
}

module.exports = { wrapListener };
