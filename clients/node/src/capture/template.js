'use strict';

const MAX_REMEMBERED = 1_000;
const CONSTRAINT = /\((?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)/g;
const PARAMETER = /[:*](?:"([^"]+)"|([\w$]+))[?+*]?/g;
const remembered = new Map();

/**
 * Rewrites a route's path as Express 4, Express 5 and Fastify write it: `/orders/:id(\\d+)` becomes `/orders/{id}`.
 *
 * @param {unknown} path
 * @returns {string | undefined} undefined where the path tells less than the request's own: a pattern or a mere wildcard
 */
function templateOf(path) {
  if (typeof path !== 'string') return undefined;
  if (!remembered.has(path)) remember(path, rewritten(path));
  return remembered.get(path);
}

function remember(path, template) {
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(path, template);
}

function rewritten(path) {
  if (/^\/?(?:\{?\/?\*[\w$]*\}?|\(\.\*\)|)$/.test(path) && path.includes('*')) return undefined;
  const bare = path.replace(CONSTRAINT, '').replace(/[{}]/g, '');
  return bare.replace(PARAMETER, (_, quoted, name) => `{${quoted ?? name}}`);
}

/**
 * Names the parameters of a router's mount path, which Express has only with their values.
 *
 * @param {string} base such as `/users/17`
 * @param {Record<string, string>} params such as `{ id: '17' }`
 * @returns {string} such as `/users/{id}`
 */
function mountTemplateOf(base, params) {
  if (base === '') return base;
  const segments = base.split('/');
  for (const [name, value] of Object.entries(params ?? {})) {
    const at = segments.lastIndexOf(encodeURIComponent(value));
    if (at > 0) segments[at] = `{${name}}`;
  }
  return segments.join('/');
}

module.exports = { templateOf, mountTemplateOf };
