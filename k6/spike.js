// A quiet chat, then a crowd within a second, then quiet again: a link was shared, or the office came back online.
//
// On `k6/ws`, for the statuses: a server that is over its limit answers 503, and that shows here.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { blocking } from './lib/wire.js';

const BASE = size('BASE', 5);
const PEAK = size('PEAK', 100);
const QUIET = size('QUIET', 5);
const DURATION = size('DURATION', 5);
const STAY_MS = size('STAY_MS', 3000);
const ROOMS = size('ROOMS', 10);

export const options = {
  tags: TAGS,
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: BASE,
      timeUnit: '1s',
      // As many as are there at once; k6 makes further ones too slowly for a spike.
      preAllocatedVUs: Math.ceil(PEAK * (STAY_MS / 1000 + 1)),
      maxVUs: PEAK * 10,
      stages: [
        { target: BASE, duration: `${QUIET}s` },
        { target: PEAK, duration: '1s' },
        { target: PEAK, duration: `${DURATION}s` },
        { target: BASE, duration: '1s' },
        { target: BASE, duration: `${QUIET}s` },
      ],
      gracefulStop: '30s',
    },
  },
  thresholds: SOUND,
};

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  const n = exec.scenario.iterationInTest;
  const user = new User(`spike-${n}`, blocking);
  const room = `spike-${n % ROOMS}`;
  user.connect(() => {
    user.join(room, () => {
      user.say(room);
      user.wire?.after(STAY_MS, () => {
        user.say(room);
        user.leave();
      });
    });
  });
}
