// Users that arrive at a rate, even if the server falls behind (an open model).
//
// Uses `k6/ws`, which reports the status of handshakes and the close codes.

import exec from 'k6/execution';
import { User } from './chat.js';
import { SOUND } from './metrics.js';
import { TAGS } from './settings.js';
import { blocking } from './wire.js';

/**
 * Returns the options of a scenario.
 *
 * @param {string} name
 * @param {{
 *   startRate: number, preAllocatedVUs: number, maxVUs: number, stages: { target: number, duration: string }[]
 * }} rates `preAllocatedVUs` must be the number of users at one time, because k6 adds VUs too slowly for a crowd
 */
export function arrivals(name, rates) {
  return {
    tags: TAGS,
    scenarios: {
      [name]: { executor: 'ramping-arrival-rate', timeUnit: '1s', gracefulStop: '30s', ...rates },
    },
    thresholds: SOUND,
  };
}

/**
 * Connects the next user, joins one of the rooms and sends one message.
 *
 * @param {string} name
 * @param {number} rooms the number of rooms
 * @param {(user: User, room: string, n: number) => void} then runs afterwards; it must make the user leave
 */
export function visit(name, rooms, then) {
  const n = exec.scenario.iterationInTest;
  const user = new User(`${name}-${n}`, blocking);
  const room = `${name}-${n % rooms}`;
  user.connect(() => {
    user.join(room, () => {
      user.sendMessage(room);
      then(user, room, n);
    });
  });
}
