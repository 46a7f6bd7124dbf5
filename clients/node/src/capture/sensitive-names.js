'use strict';

// The service redacts by the same names before it stores anything.
const SENSITIVE =
  /authori[sz]ation|cookie|token|secret|password|passwd|passphrase|passcode|pwd|apikey|accesskey|privatekey|authkey|session|sessid|credential|csrf|xsrf|jwt|signature|^x?auth$/;
const MAX_NAME_CHARS = 1_000;
const MAX_REMEMBERED = 1_000;

/**
 * @param {string[]} more names beyond the default ones, in any case and with any separators
 * @returns {(name: string) => boolean} whether the values of a header or parameter stay with the application
 */
function sensitiveNames(more) {
  const others = new Set(more.map(folded));
  const remembered = new Map();
  return (name) => {
    const known = remembered.get(name);
    if (known !== undefined) return known;
    if (name.length > MAX_NAME_CHARS) return true;
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    const plain = folded(name);
    const sensitive = others.has(plain) || SENSITIVE.test(plain);
    remembered.set(name, sensitive);
    return sensitive;
  };
}

function folded(name) {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

module.exports = { sensitiveNames };
