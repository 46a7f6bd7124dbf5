'use strict';

const http = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');
const { get } = require('./requesting.js');

let nextTag = 0;

/** Makes `count` requests, each to a path of its own, over a few kept connections; on each, `pauseMs` apart. */
async function traffic(url, count, pauseMs = 0) {
  const agent = new http.Agent({ keepAlive: true });
  const last = nextTag + count;
  const lane = async () => {
    while (nextTag < last) {
      nextTag += 1;
      await get(`${url}/r/${nextTag}`, { agent });
      if (pauseMs) await sleep(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: 4 }, lane));
  agent.destroy();
}

module.exports = { traffic };
