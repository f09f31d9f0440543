// A storm of connections: so many a second, whether or not the server keeps up (an open model). Each joins one of
// many rooms, says one thing, and leaves.
//
// On `k6/ws`, since here the statuses of the handshakes and the codes of the closes are what it is about. Iterations
// that k6 itself could not start in time are `dropped_iterations`: with more than a few, it was no storm.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { blocking } from './lib/wire.js';

const RATE = size('RATE', 100);
const RISE = size('RISE', 5);
const DURATION = size('DURATION', 15);
const ROOMS = size('ROOMS', 50);

export const options = {
  tags: TAGS,
  scenarios: {
    storm: {
      executor: 'ramping-arrival-rate',
      startRate: 0,
      timeUnit: '1s',
      preAllocatedVUs: RATE,
      maxVUs: RATE * 10,
      stages: [
        { target: RATE, duration: `${RISE}s` },
        { target: RATE, duration: `${DURATION}s` },
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
  const user = new User(`storm-${n}`, blocking);
  const room = `storm-${n % ROOMS}`;
  user.connect(() => {
    user.join(room, () => {
      user.say(room);
      user.leave(n % 2 ? 1000 : 1001);
    });
  });
}
