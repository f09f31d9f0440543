// Finds how many messages a second one room sustains. The rate rises step by step. It stops rising when half of the
// deliveries of a step take longer than LIMIT_MS or have not arrived, or after the last step. `chat_sustained` is the
// last rate that the room sustained. The run passes with any rate.
//
// Uses the event-based API in one VU, so that each step sees all of its deliveries. The result depends on one core of
// k6 as much as on the server: compare the CPU of both, and the rate with that of chat-load.

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
  /** @type {number[]} latencies of the current step, in milliseconds */
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
          writeInSteps(() => latencies.splice(0));
        }
      });
    });
  }
}

/** @param {() => number[]} takeLatencies returns the latencies since its last call */
function writeInSteps(takeLatencies) {
  const user = new User('writer', evented);
  let rate = START;
  let step = 1;
  let due = 0;
  let lastTick = Date.now();
  let sustainedRate = 0;

  const finishStep = () => {
    const latencies = takeLatencies().sort((a, b) => a - b);
    const half = Math.floor((rate * STEP_MS * RECEIVERS) / 2000);
    if (latencies.length > half && latencies[half] <= LIMIT_MS) {
      sustainedRate = rate;
      step += 1;
      rate *= FACTOR;
    } else {
      step = STEPS + 1;
    }
    if (step > STEPS) {
      sustained.add(sustainedRate);
      user.sendMessage(ROOM, { last: true });
      user.leave();
    }
  };
  user.connect(() => {
    user.join(ROOM, () => {
      lastTick = Date.now();
      user.wire?.every(STEP_MS, () => step <= STEPS && finishStep());
      user.wire?.every(TICK_MS, () => {
        const now = Date.now();
        due += (rate * (now - lastTick)) / 1000;
        lastTick = now;
        for (; due >= 1 && step <= STEPS; due -= 1) {
          user.sendMessage(ROOM);
        }
      });
    });
  });
}
