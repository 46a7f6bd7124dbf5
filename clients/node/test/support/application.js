'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { join } = require('node:path');

const MAX_RUN_MS = 20_000;

/**
 * Runs one of `test/apps` in a process of its own, which ends with the test.
 *
 * @returns the child, with `ended`: a promise of its exit code, signal and standard error
 */
function running(t, name, env) {
  const options = { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe', 'ipc'], timeout: MAX_RUN_MS };
  const child = fork(join(__dirname, '..', 'apps', name), [], options);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (part) => {
    stderr += part;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stderr }));
  t.after(() => child.kill('SIGKILL'));
  return Object.assign(child, { ended });
}

/** Runs one of `test/apps` that serves. @returns the child, with the `url` it serves at */
async function servingIn(t, name, env) {
  const child = running(t, name, env);
  const [{ port }] = await once(child, 'message');
  return Object.assign(child, { url: `http://127.0.0.1:${port}` });
}

module.exports = { running, servingIn };
