// How many messages a second one room of so many takes: the rate rises step by step until half of a step's deliveries
// take longer than LIMIT_MS, or are still under way, or until the last step. `chat_sustained` is the last rate that
// held; the run passes whatever that is.
//
// On the event-based API and in one VU, so that the step sees all its deliveries. So it is about one core of k6 as
// much as about the server: compare the CPU of both, and the figure with that of a native tool.

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

const ROOM = 'breakpoint';
const TICK_MS = 20;

const sustained = new Gauge('chat_sustained');

export const options = {
  tags: TAGS,
  scenarios: {
    breakpoint: { executor: 'per-vu-iterations', vus: 1, iterations: 1, maxDuration: '30m' },
  },
  thresholds: SOUND,
};

export function setup() {
  rooms.add(1);
}

export default function () {
  /** @type {number[]} of the step of the moment */
  let latencies = [];
  let joined = 0;
  for (let n = 0; n < RECEIVERS; n += 1) {
    const user = new User(`reader-${n}`, evented);
    user.onmessage = (message) => {
      latencies.push(Date.now() - message.body.t);
      if (message.body.last) {
        user.leave();
      }
    };
    user.connect(() => {
      user.join(ROOM, () => {
        joined += 1;
        if (joined === RECEIVERS) {
          write(() => latencies.splice(0));
        }
      });
    });
  }
}

/** @param {() => number[]} delivered the latencies since it was last called */
function write(delivered) {
  const user = new User('writer', evented);
  let rate = START;
  let step = 1;
  let due = 0;
  let then = Date.now();
  let held = 0;

  const rise = () => {
    const latencies = delivered().sort((a, b) => a - b);
    const half = Math.floor((rate * STEP_MS * RECEIVERS) / 2000);
    if (latencies.length > half && latencies[half] <= LIMIT_MS) {
      held = rate;
      step += 1;
      rate *= FACTOR;
    } else {
      step = STEPS + 1;
    }
    if (step > STEPS) {
      sustained.add(held);
      user.say(ROOM, { last: true });
      user.leave();
    }
  };
  user.connect(() => {
    user.join(ROOM, () => {
      then = Date.now();
      user.wire?.every(STEP_MS, () => step <= STEPS && rise());
      user.wire?.every(TICK_MS, () => {
        const now = Date.now();
        due += (rate * (now - then)) / 1000;
        then = now;
        for (; due >= 1 && step <= STEPS; due -= 1) {
          user.say(ROOM);
        }
      });
    });
  });
}
