'use strict';

const http = require('node:http');
const https = require('node:https');
const { promisify } = require('node:util');
const zlib = require('node:zlib');
const { version } = require('../../package.json');

const gzip = promisify(zlib.gzip);
// A connection that does not come about keeps the process alive, unlike one that waits for an answer.
const LIMITS = { sendMs: 3_000, answerMs: 10_000 };
const MAX_ANSWER_BYTES = 64 * 1024;

/** Posts batches over one kept connection, which never keeps the process alive. Redirects are not followed. */
class Transport {
  #request;

  constructor({ url, token }, limits = LIMITS) {
    const { request, Agent } = url.protocol === 'https:' ? https : http;
    this.url = url;
    this.token = token;
    this.limits = limits;
    this.request = request;
    this.agent = new Agent({ keepAlive: true, maxSockets: 1 });
  }

  /**
   * @param {string[]} reports each as JSON
   * @param {number} dropped how many reports had to be dropped since the last batch that arrived
   * @returns {Promise<{ status?: number, retryAfter?: string, body?: string, error?: string }>} never rejects
   */
  async post(reports, dropped) {
    try {
      return await this.#exchange(
        await gzip(`[${reports.join(',')}]`, { level: zlib.constants.Z_BEST_SPEED }),
        dropped,
      );
    } catch (error) {
      return { error: error.code ?? error.name };
    }
  }

  /** Ends the request that is under way, if there is one. */
  abort() {
    this.#request?.destroy();
  }

  #exchange(body, dropped) {
    return new Promise((resolve, reject) => {
      const headers = this.#headers(body, dropped);
      const request = this.request(this.url, { method: 'POST', agent: this.agent, headers });
      const deadline = deadlineOf(request, this.limits.sendMs);
      const end = (then) => (value) => {
        deadline.end();
        then(value);
      };
      this.#request = request;
      request.on('socket', (socket) => socket.unref());
      request.on('error', end(reject));
      request.on('finish', () => deadline.extend(this.limits.answerMs));
      request.on('response', (response) => read(response).then(end(resolve), end(reject)));
      request.end(body);
    });
  }

  #headers(body, dropped) {
    const headers = {
      authorization: `Bearer ${this.token}`,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'content-length': body.length,
      'user-agent': `arkyn-reporter-node/${version}`,
    };
    if (dropped > 0) headers['x-reports-dropped'] = dropped;
    return headers;
  }
}

/** Destroys a request that takes too long to connect and to send, or then to be answered. */
function deadlineOf(request, sendMs) {
  const expire = () => request.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }));
  let timer = setTimeout(expire, sendMs).unref();
  let ended = false;
  return {
    extend(ms) {
      clearTimeout(timer);
      if (!ended) timer = setTimeout(expire, ms).unref();
    },
    end() {
      clearTimeout(timer);
      ended = true;
    },
  };
}

async function read(response) {
  let body = '';
  response.setEncoding('utf8');
  for await (const part of response) {
    if (body.length < MAX_ANSWER_BYTES) body += part;
  }
  return { status: response.statusCode, retryAfter: response.headers['retry-after'], body };
}

module.exports = { Transport };
