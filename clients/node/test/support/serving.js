'use strict';

const http = require('node:http');

/**
 * Serves a listener on a loopback port until the test ends.
 *
 * @returns {Promise<{ url: string, port: number, server: http.Server, closed: () => Promise<void> }>}
 *   `closed()` resolves when every response so far has closed
 */
async function serving(t, listener, server = http.createServer(listener)) {
  const closed = followed(server);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections?.();
    server.close();
  });
  const { port } = server.address();
  return { url: `http://127.0.0.1:${port}`, port, server, closed };
}

function followed(server) {
  let open = 0;
  let wake = () => undefined;
  server.on('request', (_request, response) => {
    open += 1;
    response.once('close', () => {
      open -= 1;
      wake();
    });
  });
  return async () => {
    while (open > 0) await new Promise((resolve) => (wake = resolve));
  };
}

module.exports = { serving, followed };
