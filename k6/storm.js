// A storm of new connections at a fixed rate. Each joins one of many rooms, sends one message, and leaves.
//
// `dropped_iterations` counts those that k6 could not start in time. If there are more than a few, the rate was not
// reached.

import { arrivals, visit } from './lib/arrivals.js';
import { rooms } from './lib/metrics.js';
import { size } from './lib/settings.js';

const RATE = size('RATE', 100);
const RISE = size('RISE', 5);
const DURATION = size('DURATION', 15);
const ROOMS = size('ROOMS', 50);

export const options = arrivals('storm', {
  startRate: 0,
  preAllocatedVUs: RATE,
  maxVUs: RATE * 10,
  stages: [
    { target: RATE, duration: `${RISE}s` },
    { target: RATE, duration: `${DURATION}s` },
  ],
});

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  visit('storm', ROOMS, (user, _room, n) => user.leave(n % 2 ? 1000 : 1001));
}
