'use strict';

/**
 * Compiles path globs, in which `*` stands for any characters, slashes included.
 *
 * @param {string[]} globs
 * @returns {(path: string) => boolean} whether a path matches one of them
 */
function ignoredPaths(globs) {
  const patterns = globs.map((glob) => glob.split('*'));
  return (path) => patterns.some((parts) => matches(path, parts));
}

/** Linear in the path's length, which a regular expression with several `.*` is not: clients choose the path. */
function matches(path, parts) {
  const first = parts[0];
  const last = parts.at(-1);
  if (parts.length === 1) return path === first;
  if (path.length < first.length + last.length || !path.startsWith(first) || !path.endsWith(last)) return false;
  return holdsInOrder(path.slice(first.length, path.length - last.length), parts.slice(1, -1));
}

function holdsInOrder(text, parts) {
  let from = 0;
  for (const part of parts) {
    const at = text.indexOf(part, from);
    if (at === -1) return false;
    from = at + part.length;
  }
  return true;
}

module.exports = { ignoredPaths };
