// The 20-user smoke test: 20 users with `ws.connect` join a room, send messages, and close with 1000 or 1001, again and
// again. With STAY=1 they stay instead, so that killing k6 drops every connection without a close frame.
//
// k6 cannot see errors in the server's log. `just k6 smoke warp` reads it afterwards, and so does tests/tests/k6 for
// each binary.
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
const CLOSE_CODES = [1000, 1001];

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
  const closeCode = CLOSE_CODES[(exec.vu.idInTest + exec.vu.iterationInScenario) % CLOSE_CODES.length];
  user.connect(() => {
    user.join('lobby', () => {
      for (let n = 0; n < MESSAGES; n += 1) {
        user.sendMessage('lobby');
      }
      if (!STAY) {
        user.leave(closeCode);
      }
    });
  });
}
