'use strict';

const http = require('node:http');
const net = require('node:net');

/** Makes one request on a connection of its own. @returns {Promise<{ status, headers, body }>} */
function get(url, { body, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent: false, ...options }, async (response) => {
      const parts = await response.toArray().catch(reject);
      resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts ?? []).toString() });
    });
    request.on('error', reject).end(body);
  });
}

/** Writes bytes to a port, and resolves to all that comes back until the other side closes. */
function raw(port, text) {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    socket.setEncoding('latin1').on('data', (part) => (answer += part));
    socket.on('close', () => resolve(answer)).on('error', reject);
  });
}

module.exports = { get, raw };
