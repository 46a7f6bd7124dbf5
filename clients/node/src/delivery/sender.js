'use strict';

const { AsyncResource } = require('node:async_hooks');
const { Backoff } = require('./backoff.js');
const exit = require('./exit.js');
const { outcomeOf } = require('./outcome.js');
const { refusedWithin } = require('./answer.js');

const MAX_BATCH_COUNT = 1_000;
// Joining and compressing a batch holds up the application's event loop in proportion to its size.
const MAX_BATCH_BYTES = 1024 * 1024;
const GATHER_MS = 1_000;
// Fatal reports go at once, but a storm of them still goes in batches.
const FATAL_GAP_MS = 100;
const EXIT_FLUSH_MS = 2_000;

/** Sends what the queue holds: one batch at a time, by one timer that never keeps the process alive. */
class Sender {
  #timer;
  #timerAt = Infinity;
  #sending = false;
  #sentAt = -Infinity;
  // When to try again after a failure; and until when the service asked to be left alone, which a flush respects too.
  #resumeAt = 0;
  #askedUntil = 0;
  #maxCount = MAX_BATCH_COUNT;
  #dropped = 0;
  #flushes = new Set();
  #flushedAtExit = 0;
  #backoff = new Backoff();
  // Timers start outside of any request, whose AsyncLocalStorage they would otherwise carry along.
  #scope = new AsyncResource('ArkynReporter', { requireManualDestroy: true });

  #run = () => this.#send().catch((error) => this.warnOnce('internal', `A batch failed: ${error.message}`));

  constructor({ queue, transport, warnOnce }) {
    this.queue = queue;
    this.transport = transport;
    this.warnOnce = warnOnce;
  }

  /** Queues a report, or counts it as dropped where the queue is full. */
  add(json, fatal) {
    if (!this.queue.add(json, fatal)) {
      this.#dropped += 1;
      this.warnOnce('full', 'The queue is full: reports are dropped, and counted.');
      return;
    }
    if (this.queue.length === 1) exit.flushBeforeExit(this);
    this.#plan();
  }

  /** @returns {Promise<boolean>} whether all that is queued now was sent within the time; never rejects */
  flush(timeoutMs) {
    if (this.queue.length === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const flush = { upTo: this.queue.added, deadline: performance.now() + timeoutMs };
      flush.end = (done) => {
        clearTimeout(flush.timer);
        this.#flushes.delete(flush);
        resolve(done);
      };
      flush.timer = setTimeout(flush.end, timeoutMs, false);
      this.#flushes.add(flush);
      this.#resumeAt = this.#askedUntil;
      this.#endFlushes();
      this.#plan();
    });
  }

  /** Flushes once for what is queued, then lets the process end. */
  async flushAtExit() {
    if (this.#flushedAtExit === this.queue.added) return;
    this.#flushedAtExit = this.queue.added;
    if (!(await this.flush(EXIT_FLUSH_MS))) this.transport.abort();
  }

  #plan() {
    if (this.#sending || this.queue.length === 0) return;
    const now = performance.now();
    const at = Math.max(this.#dueAt(now), this.#resumeAt);
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#scope.runInAsyncScope(() => setTimeout(this.#run, at - now).unref());
  }

  #dueAt(now) {
    const { holdsFatal, length, bytes } = this.queue;
    if (length >= this.#maxCount || bytes >= MAX_BATCH_BYTES || this.#flushes.size > 0) return now;
    return holdsFatal ? Math.max(now, this.#sentAt + FATAL_GAP_MS) : now + GATHER_MS;
  }

  async #send() {
    this.#timerAt = Infinity;
    this.#sentAt = performance.now();
    this.#sending = true;
    const batch = this.queue.head(this.#maxCount, MAX_BATCH_BYTES);
    const dropped = this.#dropped;
    const answer = await this.transport.post(batch, dropped);
    this.#sending = false;
    this.#conclude(outcomeOf(answer, batch.length), { count: batch.length, dropped, answer });
    this.#endFlushes();
    this.#plan();
  }

  #conclude(outcome, { count, dropped, answer }) {
    if (outcome.kind === 'delivered') this.#delivered(count, dropped, answer);
    else if (outcome.kind === 'split') this.#maxCount = Math.ceil(count / 2);
    else if (outcome.kind === 'refused') this.#refused(count, outcome);
    else this.#failed(outcome);
  }

  #delivered(count, dropped, answer) {
    this.#remove(count);
    this.#dropped -= dropped;
    this.#backoff.reset();
    this.#resumeAt = 0;
    const { refused, example } = refusedWithin(answer.body);
    if (refused) this.warnOnce('rejected', `The service could not use ${refused} of ${count} reports: ${example}`);
  }

  #refused(count, { reason, waitMs }) {
    this.#remove(count);
    this.#dropped += count;
    this.#pause(waitMs);
    this.warnOnce(reason, `The service refused a batch with ${reason}: its reports are dropped, and counted.`);
  }

  #failed({ reason, waitMs }) {
    if (waitMs) this.#askedUntil = performance.now() + waitMs;
    this.#pause(this.#backoff.next(waitMs));
    this.warnOnce(reason, `A batch could not be delivered (${reason}); it is tried again.`);
  }

  #pause(ms) {
    this.#resumeAt = performance.now() + ms;
  }

  #remove(count) {
    this.queue.remove(count);
    if (this.queue.length === 0) exit.forget(this);
  }

  /** Ends flushes that are done, and those for whose sake nothing will be tried any more. */
  #endFlushes() {
    for (const flush of this.#flushes) {
      if (this.queue.removed >= flush.upTo) flush.end(true);
      else if (!this.#sending && this.#resumeAt > flush.deadline) flush.end(false);
    }
  }
}

module.exports = { Sender };
