'use strict';

const PAUSE_AFTER_REFUSAL_MS = 30_000;

/**
 * What an answer of the service means for the batch it answers.
 *
 * @typedef {object} Outcome
 * @property {'delivered' | 'retry' | 'split' | 'refused'} kind
 * @property {string} [reason] for people: a status or an error code
 * @property {number} [waitMs] how long to leave the service alone
 */

/** @returns {Outcome} */
function outcomeOf({ status, retryAfter, error }, count) {
  if (error) return { kind: 'retry', reason: error };
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  const reason = `status ${status}`;
  if (status === 413 && count > 1) return { kind: 'split', reason };
  if (status === 408 || status === 429 || status >= 500) return { kind: 'retry', reason, waitMs: waitOf(retryAfter) };
  return { kind: 'refused', reason, waitMs: [400, 413].includes(status) ? 0 : PAUSE_AFTER_REFUSAL_MS };
}

/** @returns {number | undefined} milliseconds of a `Retry-After` in seconds or as a date */
function waitOf(retryAfter) {
  if (!retryAfter) return undefined;
  const ms = Number.isNaN(Number(retryAfter)) ? Date.parse(retryAfter) - Date.now() : Number(retryAfter) * 1_000;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

module.exports = { outcomeOf };
