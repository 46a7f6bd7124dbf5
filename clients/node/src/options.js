'use strict';

const { ignoredPaths } = require('./capture/ignored-paths.js');
const { sensitiveNames } = require('./capture/sensitive-names.js');

const DEFAULT_MAX_QUEUE_BYTES = 16 * 1024 * 1024;
const NAMES = new Set(['dsn', 'ignore', 'redact', 'domainUrl', 'trustProxy', 'maxQueueBytes']);

/**
 * Checks what the application asked for and fills in defaults. Throws a TypeError where an option cannot be meant.
 *
 * @param {import('./index.js').ReporterOptions} given
 */
function readOptions(given = {}) {
  for (const name of Object.keys(given)) {
    if (!NAMES.has(name)) throw new TypeError(`arkyn-reporter knows no option "${name}".`);
  }
  return {
    dsn: given.dsn ?? process.env.ARKYN_DSN ?? '',
    isIgnored: ignoredPaths(strings('ignore', given.ignore)),
    isSensitive: sensitiveNames(strings('redact', given.redact)),
    domainUrl: origin(given.domainUrl),
    trustProxy: Boolean(given.trustProxy),
    maxQueueBytes: bytes(given.maxQueueBytes),
  };
}

function strings(name, value = []) {
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
    throw new TypeError(`arkyn-reporter's "${name}" must be an array of strings.`);
  }
  return value;
}

function origin(value) {
  if (value === undefined) return undefined;
  try {
    const url = new URL(value);
    if (/^https?:$/.test(url.protocol)) return url.origin;
  } catch {}
  throw new TypeError('arkyn-reporter\'s "domainUrl" must be an http or https URL.');
}

function bytes(value = DEFAULT_MAX_QUEUE_BYTES) {
  if (!Number.isFinite(value) || value <= 0) throw new TypeError('arkyn-reporter\'s "maxQueueBytes" must be above 0.');
  return value;
}

module.exports = { readOptions };
