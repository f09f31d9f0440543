// The two WebSocket APIs of k6 behind one interface:
//
// - `blocking` uses `ws.connect` of `k6/ws`. It returns when the connection has ended, so a VU has one connection at a
//   time, and a VU is a JavaScript engine with megabytes of its own. Only this API reports the status of a refused
//   handshake and the close code. A failed handshake throws no error.
// - `evented` uses the `WebSocket` of browsers. It returns immediately, and a VU has as many connections as its event
//   loop can serve. Use it for thousands of connections. It reports no status and, in k6 1.1, no close code.

import { clearInterval, clearTimeout, setInterval, setTimeout } from 'k6/timers';
import ws from 'k6/ws';
import { TAGS, URL } from './settings.js';

/**
 * @typedef {object} Wire
 * @property {(text: string) => void} send
 * @property {(code: number) => void} close sends a close frame; later frames are not reported
 * @property {(ms: number, action: () => void) => void} after runs once, unless the connection ends before
 * @property {(ms: number, action: () => void) => void} every runs repeatedly until the connection ends
 *
 * @typedef {object} Handlers
 * @property {(wire: Wire) => void} opened
 * @property {(text: string) => void} received
 * @property {(status: number, code: number) => void} ended the status of the handshake and the close code; 0 if the API
 *   does not report it
 *
 * @typedef {(query: string, handlers: Handlers) => void} Connect
 */

const HEADERS = { 'Sec-WebSocket-Protocol': 'chat.v1' };

/** Connects with `k6/ws`. @type {Connect} */
export function blocking(query, handlers) {
  let code = 0;
  const response = ws.connect(`${URL}?${query}`, { headers: HEADERS, tags: tags() }, (socket) => {
    const wire = {
      send: (/** @type {string} */ text) => socket.send(text),
      close: (/** @type {number} */ closeCode) => socket.close(closeCode),
      after: (/** @type {number} */ ms, /** @type {() => void} */ action) => socket.setTimeout(action, ms),
      every: (/** @type {number} */ ms, /** @type {() => void} */ action) => socket.setInterval(action, ms),
    };
    socket.on('open', () => handlers.opened(wire));
    socket.on('message', (text) => handlers.received(text));
    socket.on('close', (/** @type {number} */ closeCode) => {
      code = closeCode;
    });
  });
  handlers.ended(response ? response.status : 0, code);
}

/** Connects with `k6/websockets`, or with `k6/experimental/websockets` in older versions of k6. @type {Connect} */
export function evented(query, handlers) {
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
    handlers.opened(wire);
  };
  socket.onmessage = (/** @type {any} */ event) => handlers.received(event.data);
  socket.onclose = (/** @type {any} */ event) => {
    // A timer that still runs keeps its VU from ending.
    timeouts.forEach(clearTimeout);
    intervals.forEach(clearInterval);
    handlers.ended(status, (event && event.code) || 0);
  };
  // `onclose` reports every failure. Without this listener, k6 would also log each one.
  socket.onerror = () => {};
}

// All users share one URL tag. Otherwise k6 would make a time series for each user name.
function tags() {
  return { ...TAGS, name: URL };
}

/** @type {any} */
let WebSocket;
try {
  // @ts-ignore k6 1.1 does not have this module, and the types are those of k6 1.1.
  ({ WebSocket } = require('k6/websockets'));
} catch {
  ({ WebSocket } = require('k6/experimental/websockets'));
}
