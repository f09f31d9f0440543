// Lost networks: every user is cut off every few seconds, with messages on their way in both directions, comes back
// under its name, and must find its streams whole: nothing twice, nothing missing, in order.
//
// On `k6/ws`: its close throws away whatever arrives after it, so each cut is one.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { blocking } from './lib/wire.js';

const USERS = size('USERS', 20);
const ROOMS = size('ROOMS', 4);
const CUTS = size('CUTS', 5);
const STAY_MS = size('STAY_MS', 2000);
const EVERY_MS = size('EVERY_MS', 100);

export const options = {
  tags: TAGS,
  scenarios: {
    resume: { executor: 'per-vu-iterations', vus: USERS, iterations: 1, maxDuration: '10m' },
  },
  // Without the last two, nothing was cut off.
  thresholds: {
    ...SOUND,
    chat_recovered: ['rate==1'],
    chat_replayed: ['count>0'],
    chat_repeated: ['count>0'],
  },
};

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  const user = new User(`resume-${exec.vu.idInTest}`, blocking);
  // Two rooms each, so that streams cross.
  const mine = [0, 1].map((n) => `resume-${(exec.vu.idInTest + n) % ROOMS}`);
  let cuts = CUTS;
  const talk = () => {
    let said = 0;
    user.wire?.every(EVERY_MS, () => {
      said += 1;
      user.say(mine[said % mine.length]);
    });
    user.wire?.after(STAY_MS * (0.5 + Math.random()), () => {
      if (cuts === 0) {
        user.leave();
        return;
      }
      cuts -= 1;
      // What is said now is cut off on its way.
      mine.forEach((room) => user.say(room));
      user.cut(cuts % 2 ? 1000 : 1001);
    });
  };
  const back = () => user.connect(talk, back);
  user.connect(() => user.join(mine[0], () => user.join(mine[1], talk)), back);
}
