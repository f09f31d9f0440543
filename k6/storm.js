// A storm of connections: so many a second. Each joins one of many rooms, says one thing, and leaves.
//
// Iterations that k6 itself could not start in time are `dropped_iterations`: with more than a few, it was no storm.

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
