'use strict';

const unsent = new Set();
let listening = false;

/** Has `sender.flushAtExit()` called when the process has nothing left to do, as long as the sender holds reports. */
function flushBeforeExit(sender) {
  unsent.add(sender);
  if (listening) return;
  listening = true;
  process.on('beforeExit', () => {
    for (const each of unsent) each.flushAtExit();
  });
}

function forget(sender) {
  unsent.delete(sender);
}

module.exports = { flushBeforeExit, forget };
