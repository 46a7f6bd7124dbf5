'use strict';

const { Observation } = require('./observation.js');
const { pathOf } = require('./url.js');

/**
 * Makes the function by which every adapter follows a request. It reports the request once its response has closed,
 * however many adapters see it, and touches neither body.
 *
 * @param {object} parts
 * @param {symbol} parts.key where a request carries its observation
 * @param {(path: string) => boolean} parts.isIgnored
 * @param {(req: object, res: object, observation: Observation) => void} parts.report
 * @returns {(req: object, res: object) => Observation | undefined} undefined where the request is not reported
 */
function observer({ key, isIgnored, report }) {
  return (req, res) => {
    if (req[key]) return req[key];
    const observation = new Observation(req);
    if (isWebSocket(req) || isIgnored(pathOf(observation.target))) return undefined;
    req[key] = observation;
    res.once('close', () => report(req, res, observation));
    return observation;
  };
}

function isWebSocket({ headers }) {
  return headers.upgrade !== undefined && headers.upgrade.toLowerCase() === 'websocket';
}

module.exports = { observer };
