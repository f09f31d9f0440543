// How many messages a second one room of so many takes: the rate rises step by step until most of a step's messages
// take longer than LIMIT_MS from sender to sender, or until the last step. `chat_sustained` is the last rate that
// held. It passes whatever that is.
//
// On the event-based API, for the number of receivers. k6 may be what breaks: compare its CPU with the server's, and
// the figure with that of a native tool.

import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { evented } from './lib/wire.js';

const RECEIVERS = size('RECEIVERS', 100);
const START = size('START', 10);
const FACTOR = size('FACTOR', 1.5);
const STEPS = size('STEPS', 8);
const STEP_MS = size('STEP_MS', 5000);
const LIMIT_MS = size('LIMIT_MS', 250);
const VUS = size('VUS', 2);

const ROOM = 'breakpoint';
const TICK_MS = 20;

const sustained = new Gauge('chat_sustained');

export const options = {
  tags: TAGS,
  scenarios: {
    read: { executor: 'per-vu-iterations', exec: 'read', vus: VUS, iterations: 1, maxDuration: '30m' },
    write: { executor: 'per-vu-iterations', exec: 'write', vus: 1, iterations: 1, startTime: '3s', maxDuration: '30m' },
  },
  thresholds: SOUND,
};

export function setup() {
  rooms.add(1);
}

export function read() {
  for (let n = 0; n < Math.ceil(RECEIVERS / VUS); n += 1) {
    const user = new User(`reader-${exec.vu.idInTest}-${n}`, evented);
    user.onmessage = (message) => message.body.last && user.leave();
    user.connect(() => user.join(ROOM));
  }
}

export function write() {
  const user = new User('writer', evented);
  let rate = START;
  let step = 1;
  let due = 0;
  let held = 0;
  /** @type {number[]} */
  let latencies = [];
  user.onmessage = (message) => latencies.push(Date.now() - message.body.t);

  const rise = () => {
    latencies.sort((a, b) => a - b);
    // What has not come back by now is late, too.
    const enough = latencies.length >= (rate * STEP_MS) / 2000;
    if (enough && latencies[Math.floor(latencies.length / 2)] <= LIMIT_MS) {
      held = rate;
      step += 1;
      rate *= FACTOR;
    } else {
      step = STEPS + 1;
    }
    latencies = [];
    if (step > STEPS) {
      sustained.add(held);
      user.say(ROOM, { last: true });
      user.leave();
    }
  };
  user.connect(() => {
    user.join(ROOM, () => {
      user.wire?.every(STEP_MS, () => step <= STEPS && rise());
      user.wire?.every(TICK_MS, () => {
        for (due += (rate * TICK_MS) / 1000; due >= 1 && step <= STEPS; due -= 1) {
          user.say(ROOM);
        }
      });
    });
  });
}
