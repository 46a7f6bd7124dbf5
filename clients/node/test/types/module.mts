import { createServer } from 'node:http';
import reporter, { type Reporter, type ReporterOptions, wrap } from 'arkyn-reporter';
import connect from 'connect';
import express from 'express';
import { fastify as fastify5 } from 'fastify';
import { fastify as fastify4 } from 'fastify4';

const options: ReporterOptions = { domainUrl: 'https://shop.example', trustProxy: true, maxQueueBytes: 1_000_000 };
const report: Reporter = reporter(options);

express().use(report);
connect().use(report);
createServer(report.wrap((_req, res) => res.end()));
createServer(wrap((req, res) => res.end(req.url)));
fastify4().register(report.fastify);
fastify5().register(reporter.fastify);
report.report({ status: 200, url: '/job', elapsedMs: 1, occurredAt: new Date() });
const done: boolean = await reporter.flush();

// @ts-expect-error A number is needed.
report.flush(String(done));
