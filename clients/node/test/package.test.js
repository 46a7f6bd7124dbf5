'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { mkdtemp, rm, writeFile } = require('node:fs/promises');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { describe, it, before, after } = require('node:test');
const { promisify } = require('node:util');
const { collecting } = require('./support/collector.js');

const PACKAGE = join(__dirname, '..');
const run = promisify(execFile);

const KINDS = {
  'index.cjs': `const reporter = require('arkyn-reporter');
    const http = require('node:http');`,
  'index.mjs': `import reporter from 'arkyn-reporter';
    import http from 'node:http';`,
  'named.mjs': `import { reporter } from 'arkyn-reporter';
    import http from 'node:http';`,
  'named.cjs': `const { reporter } = require('arkyn-reporter');
    const http = require('node:http');`,
};
const BODY = `
  const server = http.createServer(reporter.wrap((req, res) => res.end()));
  server.listen(0, '127.0.0.1', () =>
    http.get({ port: server.address().port, path: '/packed', agent: false }, (res) => res.resume().on('end', () => server.close())));`;

describe('the package, installed into a fresh project', () => {
  let project;
  before(async () => {
    project = await mkdtemp(join(tmpdir(), 'arkyn-reporter-'));
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project], { cwd: PACKAGE });
    await writeFile(join(project, 'package.json'), '{ "private": true }');
    await run('npm', ['install', '--offline', `./${JSON.parse(stdout)[0].filename}`], { cwd: project });
  });
  after(() => rm(project, { recursive: true }));

  for (const [name, head] of Object.entries(KINDS)) {
    it(`reports from ${name}`, async (t) => {
      const collector = await collecting(t);
      await writeFile(join(project, name), head + BODY);
      const env = { ...process.env, ARKYN_DSN: collector.dsn };
      const { stdout, stderr } = await run(process.execPath, [name], { cwd: project, env, timeout: 20_000 });
      assert.equal(stdout + stderr, '');
      assert.deepEqual(
        collector.records.map(({ pathnameUrl }) => pathnameUrl),
        ['/packed'],
      );
    });
  }

  it('brings types along and nothing that only its tests need', async () => {
    const { stdout } = await run('npm', ['pack', '--json', '--dry-run'], { cwd: PACKAGE });
    const [{ files }] = JSON.parse(stdout);
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes('src/index.d.ts') && paths.includes('src/index.d.mts') && paths.includes('README.md'));
    assert.deepEqual(
      paths.filter((path) => !/^(src\/|package\.json$|README\.md$|LICENSE$)/.test(path)),
      [],
    );
  });

  it('needs no other package', () => {
    assert.equal(require('../package.json').dependencies, undefined);
  });
});

it('is typed for both module kinds', async () => {
  const tsc = join(PACKAGE, 'node_modules', '.bin', 'tsc');
  await run(tsc, ['--project', join(__dirname, 'types')], { cwd: PACKAGE }).catch(({ stdout }) => assert.fail(stdout));
});
