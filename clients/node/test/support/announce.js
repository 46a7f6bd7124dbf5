'use strict';

// Loaded before a program, tells its parent the port it listens at.
const net = require('node:net');

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function announced(...args) {
  this.once('listening', () => process.send({ port: this.address().port }));
  return listen.apply(this, args);
};
