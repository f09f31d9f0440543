// A quiet chat, then many users within a second, then quiet again, as when a link is shared or an office comes back
// online. A server over its connection limit answers 503, which fails the run.

import { arrivals, visit } from './lib/arrivals.js';
import { rooms } from './lib/metrics.js';
import { size } from './lib/settings.js';

const BASE = size('BASE', 5);
const PEAK = size('PEAK', 100);
const QUIET = size('QUIET', 5);
const DURATION = size('DURATION', 5);
const STAY_MS = size('STAY_MS', 3000);
const ROOMS = size('ROOMS', 10);

export const options = arrivals('spike', {
  startRate: BASE,
  preAllocatedVUs: Math.ceil(PEAK * (STAY_MS / 1000 + 1)),
  maxVUs: PEAK * 10,
  stages: [
    { target: BASE, duration: `${QUIET}s` },
    { target: PEAK, duration: '1s' },
    { target: PEAK, duration: `${DURATION}s` },
    { target: BASE, duration: '1s' },
    { target: BASE, duration: `${QUIET}s` },
  ],
});

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  visit('spike', ROOMS, (user, room) => {
    user.wire?.after(STAY_MS, () => {
      user.sendMessage(room);
      user.leave();
    });
  });
}
