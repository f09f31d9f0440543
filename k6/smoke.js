// The story's load: 20 users with `ws.connect` join a room, talk, and close with 1000 and with 1001, again and
// again. With STAY=1 they stay instead, so that killing k6 drops every connection without a close frame.
//
// k6 cannot see the server's log, where the story's bug showed: `just k6 smoke warp` reads it afterwards, and so does
// tests/tests/k6.rs for each binary.
//
//   k6 run -e URL=ws://127.0.0.1:8080/ws k6/smoke.js

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { blocking } from './lib/wire.js';

const USERS = size('USERS', 20);
const MESSAGES = size('MESSAGES', 3);
const ITERATIONS = size('ITERATIONS', 4);
const STAY = __ENV.STAY === '1';
const ENDINGS = [1000, 1001];

export const options = {
  tags: TAGS,
  scenarios: {
    smoke: { executor: 'per-vu-iterations', vus: USERS, iterations: ITERATIONS, maxDuration: '2m' },
  },
  thresholds: { ...SOUND, chat_acknowledged: [`count==${USERS * ITERATIONS * MESSAGES}`] },
};

export function setup() {
  rooms.add(1);
}

export default function () {
  const user = new User(`user-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`, blocking);
  const ending = ENDINGS[(exec.vu.idInTest + exec.vu.iterationInScenario) % ENDINGS.length];
  user.connect(() => {
    user.join('lobby', () => {
      for (let n = 0; n < MESSAGES; n += 1) {
        user.say('lobby');
      }
      if (!STAY) {
        user.leave(ending);
      }
    });
  });
}
