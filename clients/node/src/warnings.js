'use strict';

/** @returns {(key: string, message: string) => void} emits a process warning, once per key; never throws */
function warningsOnce() {
  const said = new Set();
  return (key, message) => {
    if (said.has(key)) return;
    said.add(key);
    process.emitWarning(message, { type: 'ArkynReporterWarning' });
  };
}

module.exports = { warningsOnce };
