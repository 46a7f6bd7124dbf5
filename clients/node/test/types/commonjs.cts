import { createServer } from 'node:http';

import reporter = require('arkyn-reporter');
import connect = require('connect');
import express = require('express');

import { fastify as fastify5 } from 'fastify';
import { fastify as fastify4 } from 'fastify4';

const options: reporter.ReporterOptions = {
  dsn: 'https://token@host/id',
  ignore: ['/healthz'],
  redact: ['x-customer'],
};
const report: reporter.Reporter = reporter(options);

express().use(report);
connect().use(report);
createServer(report.wrap((_req, res) => res.end()));
createServer(report.wrap(express()));
createServer(reporter.wrap((req, res) => res.end(req.url)));
fastify4().register(report.fastify);
fastify5().register(reporter.fastify);
report.report({ status: 500, method: 'POST', url: 'https://api.example/pay', elapsedMs: 12.5 });
report.flush(500).then((done: boolean) => done);

// @ts-expect-error There is no such option.
reporter({ ignored: [] });
// @ts-expect-error A status is needed.
report.report({ url: '/', elapsedMs: 1 });
