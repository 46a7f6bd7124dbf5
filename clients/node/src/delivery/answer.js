'use strict';

/** @returns {{ refused: number, example: string }} how many reports of a batch the service could not use, and why one */
function refusedWithin(body) {
  try {
    const { rejected } = JSON.parse(body);
    return { refused: rejected.length, example: JSON.stringify(rejected[0]?.errors ?? {}).slice(0, 200) };
  } catch {
    return { refused: 0, example: '' };
  }
}

module.exports = { refusedWithin };
