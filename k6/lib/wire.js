// k6's two WebSocket APIs behind one shape. What differs:
//
// - `blocking`, the story's `ws.connect`: returns when the connection has ended, so a VU has one at a time, and a VU
//   is a JavaScript engine with megabytes of its own. It alone tells the status of a refused handshake and the code
//   of a close. A failed handshake throws nothing.
// - `evented`, the browsers' `WebSocket`: returns at once, and a VU carries as many as its event loop can serve. For
//   thousands of connections it is the only way. It tells no status and, in k6 1.1, no close code.

import { clearInterval, clearTimeout, setInterval, setTimeout } from 'k6/timers';
import ws from 'k6/ws';
import { TAGS, URL } from './settings.js';

/**
 * @typedef {object} Wire
 * @property {(text: string) => void} send
 * @property {(code: number) => void} close sends a close frame; what comes after it is not seen any more
 * @property {(ms: number, action: () => void) => void} after unless the connection ends before
 * @property {(ms: number, action: () => void) => void} every until the connection ends
 *
 * @typedef {object} Ears
 * @property {(wire: Wire) => void} opened
 * @property {(text: string) => void} received
 * @property {(status: number, code: number) => void} ended the handshake's status and the code of the close; 0 for
 *   what the API does not tell
 *
 * @typedef {(query: string, ears: Ears) => void} Way
 */

const HEADERS = { 'Sec-WebSocket-Protocol': 'chat.v1' };

/** `k6/ws`. @type {Way} */
export function blocking(query, ears) {
  let code = 0;
  const response = ws.connect(`${URL}?${query}`, { headers: HEADERS, tags: tags() }, (socket) => {
    const wire = {
      send: (/** @type {string} */ text) => socket.send(text),
      close: (/** @type {number} */ with_) => socket.close(with_),
      after: (/** @type {number} */ ms, /** @type {() => void} */ action) => socket.setTimeout(action, ms),
      every: (/** @type {number} */ ms, /** @type {() => void} */ action) => socket.setInterval(action, ms),
    };
    socket.on('open', () => ears.opened(wire));
    socket.on('message', (text) => ears.received(text));
    socket.on('close', (/** @type {number} */ its) => {
      code = its;
    });
  });
  ears.ended(response ? response.status : 0, code);
}

/** `k6/websockets`, which older ones call `k6/experimental/websockets`. @type {Way} */
export function evented(query, ears) {
  const socket = new WebSocket(`${URL}?${query}`, null, { headers: HEADERS, tags: tags() });
  /** @type {number[]} */
  const timeouts = [];
  /** @type {number[]} */
  const intervals = [];
  let status = 0;
  const wire = {
    send: (/** @type {string} */ text) => socket.send(text),
    close: (/** @type {number} */ code) => socket.close(code),
    after: (/** @type {number} */ ms, /** @type {() => void} */ action) => void timeouts.push(setTimeout(action, ms)),
    every: (/** @type {number} */ ms, /** @type {() => void} */ action) => void intervals.push(setInterval(action, ms)),
  };
  socket.onopen = () => {
    status = 101;
    ears.opened(wire);
  };
  socket.onmessage = (/** @type {any} */ event) => ears.received(event.data);
  socket.onclose = (/** @type {any} */ event) => {
    // A timer that is left keeps its VU from ending.
    timeouts.forEach(clearTimeout);
    intervals.forEach(clearInterval);
    ears.ended(status, (event && event.code) || 0);
  };
  // What is wrong, `onclose` tells; without a listener k6 would log each.
  socket.onerror = () => {};
}

// One URL for all users, or every name would make time series of its own.
function tags() {
  return { ...TAGS, name: URL };
}

/** @type {any} */
let WebSocket;
try {
  // @ts-ignore k6 1.1 does not have it, and the types are those of k6 1.1.
  ({ WebSocket } = require('k6/websockets'));
} catch {
  ({ WebSocket } = require('k6/experimental/websockets'));
}
