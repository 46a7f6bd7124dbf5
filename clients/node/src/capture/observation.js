'use strict';

/** What is noted of a request when it comes in, because it is gone or different when the response has closed. */
class Observation {
  constructor(req) {
    this.occurredAt = Date.now();
    this.startedAt = performance.now();
    this.target = req.originalUrl || req.url || '/';
    this.failed = false;
    /**
     * Set by the adapter of a framework that knows its routes: the route, and how its template comes of it.
     * @type {((observation: Observation) => string | undefined) | undefined}
     */
    this.template = undefined;
    this.route = undefined;
  }

  elapsedMs() {
    return performance.now() - this.startedAt;
  }
}

module.exports = { Observation };
