'use strict';

const BASE_MS = 500;
const MAX_MS = 30_000;
const MAX_RETRY_AFTER_MS = 15 * 60_000;

/** Waits that grow with each failure in a row, each with jitter so that many processes do not return at once. */
class Backoff {
  #failures = 0;

  constructor(random = Math.random) {
    this.random = random;
  }

  /** @returns {number} milliseconds until the next try; never less than the service asked for, within reason */
  next(askedMs = 0) {
    const grown = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    const jittered = grown * (0.5 + this.random() / 2);
    const asked = Math.min(askedMs, MAX_RETRY_AFTER_MS);
    return asked > 0 ? Math.max(jittered, asked + this.random() * Math.min(asked, 1_000)) : jittered;
  }

  reset() {
    this.#failures = 0;
  }
}

module.exports = { Backoff };
