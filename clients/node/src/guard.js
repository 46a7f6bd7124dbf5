'use strict';

/**
 * Keeps an error of the reporter's own from the application: it is said once, and the call has no result.
 *
 * @template {unknown[]} A
 * @template R
 * @param {(...args: A) => R} work
 * @param {(key: string, message: string) => void} warnOnce
 * @returns {(...args: A) => R | undefined}
 */
function guarded(work, warnOnce) {
  return (...args) => {
    try {
      return work(...args);
    } catch (error) {
      warnOnce('internal', `A request could not be reported: ${error?.message}`);
      return undefined;
    }
  };
}

module.exports = { guarded };
