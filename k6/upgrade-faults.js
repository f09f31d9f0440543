// For tests/tests/host_faults.rs: connects to a host that breaks upgrades, once for each fault in FAULTS and once without
// a fault. Prints the result of each connection as one line of JSON.
//
// Uses `k6/ws`, which reports the status of a refused handshake.

import exec from 'k6/execution';
import ws from 'k6/ws';
import { URL } from './lib/settings.js';

const FAULTS = ['', ...(__ENV.FAULTS || '').split(',')];

export const options = {
  scenarios: {
    faults: { executor: 'per-vu-iterations', vus: FAULTS.length, iterations: 1, maxDuration: '60s' },
  },
};

export default function () {
  const fault = FAULTS[exec.vu.idInTest - 1];
  let events = 0;
  let code = 0;
  /** @type {Record<string, string>} */
  const headers = { 'Sec-WebSocket-Protocol': 'chat.v1' };
  if (fault) {
    headers['X-Fault'] = fault;
  }
  const response = ws.connect(URL, { headers }, (socket) => {
    socket.on('message', () => {
      events += 1;
      socket.close(1001);
    });
    socket.on('close', (/** @type {number} */ closeCode) => {
      code = closeCode;
    });
    // Ends a connection that has no session. The wait is longer than any time limit of the server.
    socket.setTimeout(() => socket.close(4999), 30000);
  });
  console.log(JSON.stringify({ fault, status: response.status, events, code }));
}
