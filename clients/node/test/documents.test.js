'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { describe, it } = require('node:test');
const { collecting } = require('./support/collector.js');
const { get } = require('./support/requesting.js');

const PACKAGE = join(__dirname, '..');
const PAGES = ['README.md', '../../docs/connect-node.md'].filter((page) => existsSync(join(PACKAGE, page)));
const NODE_MAJOR = Number(process.versions.node.split('.')[0]);

function snippetsOf(page) {
  const text = readFileSync(join(PACKAGE, page), 'utf8');
  return [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
}

/** Runs a program as it stands in a page, within the package: `arkyn-reporter` is the package itself there. */
function started(t, code, dsn) {
  const kind = /^import /m.test(code) ? 'module' : 'commonjs';
  const args = ['--require', join(__dirname, 'support', 'announce.js'), `--input-type=${kind}`, '--eval', code];
  const env = { ...process.env, ARKYN_DSN: dsn, PORT: '0' };
  const child = spawn(process.execPath, args, { cwd: PACKAGE, env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  t.after(() => child.kill('SIGKILL'));
  return once(child, 'message');
}

for (const page of PAGES) {
  describe(`a program in ${page.split('/').at(-1)}`, () => {
    for (const code of snippetsOf(page)) {
      const framework = /(?:from |require\()'(?!arkyn)([^']+)/.exec(code)[1];
      // Fastify 5 needs Node.js 20.
      const skip = framework === 'fastify' && NODE_MAJOR < 20;
      it(`reports as it stands there: ${framework}`, { skip }, async (t) => {
        const collector = await collecting(t);
        const [{ port }] = await started(t, code, collector.dsn);
        assert.equal((await get(`http://127.0.0.1:${port}/orders/17`)).status, 200);
        await collector.arrived(1);
        const expected = framework === 'node:http' ? '/orders/17' : '/orders/{id}';
        assert.equal(collector.records[0].pathnameUrl, expected);
      });
    }
  });
}
