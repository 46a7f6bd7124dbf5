'use strict';

const OVERHEAD_BYTES = 64;
// The rest is kept for fatal reports, so that a flood of others cannot crowd them out.
const SHARE_FOR_ALL = 0.9;

/** Reports that wait, as JSON, oldest first; bounded in bytes. They stay until `remove()`, also while they are sent. */
class ReportQueue {
  #reports = [];
  #sizes = [];
  #fatalUpTo = 0;
  /** How many were ever added and ever removed. */
  added = 0;
  removed = 0;
  bytes = 0;

  constructor(maxBytes) {
    this.maxBytes = maxBytes;
  }

  get length() {
    return this.#reports.length;
  }

  get holdsFatal() {
    return this.#fatalUpTo > this.removed;
  }

  /** @returns {boolean} false where there is no room */
  add(json, fatal) {
    const size = Buffer.byteLength(json) + OVERHEAD_BYTES;
    if (this.bytes + size > this.maxBytes * (fatal ? 1 : SHARE_FOR_ALL)) return false;
    this.#reports.push(json);
    this.#sizes.push(size);
    this.bytes += size;
    this.added += 1;
    if (fatal) this.#fatalUpTo = this.added;
    return true;
  }

  /** @returns {string[]} the oldest ones: at least one, if there is one, and no more than the bounds allow */
  head(maxCount, maxBytes) {
    let count = 0;
    let bytes = 0;
    while (count < Math.min(maxCount, this.length) && (count === 0 || bytes + this.#sizes[count] <= maxBytes)) {
      bytes += this.#sizes[count];
      count += 1;
    }
    return this.#reports.slice(0, count);
  }

  /** Removes the `count` oldest. */
  remove(count) {
    this.#reports.splice(0, count);
    for (const size of this.#sizes.splice(0, count)) this.bytes -= size;
    this.removed += count;
  }
}

module.exports = { ReportQueue };
