'use strict';

const { after } = require('node:test');

/** Gathers what became of the reports under each fault, and prints it when the file's tests have run. */
function faultTable() {
  const rows = [];
  after(() => {
    for (const row of rows) console.log(row);
  });
  const line = (cells) => `| ${cells.join(' | ')} |`;
  rows.push(line(['fault', 'reported', 'arrived', 'dropped', 'counted', 'twice']), line(Array(6).fill('---')));
  return (fault, reported, { arrived, twice, dropped }) => {
    rows.push(line([fault, reported, arrived, reported - arrived, dropped, twice]));
  };
}

module.exports = { faultTable };
