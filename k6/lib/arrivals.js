// Users who come at a rate, whether or not the server keeps up (an open model), and go.
//
// On `k6/ws`, for the statuses of the handshakes and the codes of the closes.

import exec from 'k6/execution';
import { User } from './chat.js';
import { SOUND } from './metrics.js';
import { TAGS } from './settings.js';
import { blocking } from './wire.js';

/**
 * The options of a scenario.
 *
 * @param {string} name
 * @param {{ startRate: number, preAllocatedVUs: number, maxVUs: number, stages: { target: number, duration: string }[] }} rates
 *   `preAllocatedVUs`: as many as are there at once, since k6 makes further ones too slowly for a crowd
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
 * The next user comes, joins one of many rooms and says one thing.
 *
 * @param {string} name
 * @param {number} many
 * @param {(user: User, room: string, n: number) => void} then it must leave in the end
 */
export function visit(name, many, then) {
  const n = exec.scenario.iterationInTest;
  const user = new User(`${name}-${n}`, blocking);
  const room = `${name}-${n % many}`;
  user.connect(() => {
    user.join(room, () => {
      user.say(room);
      then(user, room, n);
    });
  });
}
