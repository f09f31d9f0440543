// Lost networks: every user loses its connection every few seconds, with messages in flight in both directions. It
// reconnects with the same name, and its streams must be complete: nothing twice, nothing missing, in order.
//
// Uses `k6/ws`: after its close, it discards everything that arrives, like a lost network.

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
  // The last two prove that messages were in flight when connections were cut.
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
  // Each user is in two rooms, so that streams of several rooms mix.
  const mine = [0, 1].map((n) => `resume-${(exec.vu.idInTest + n) % ROOMS}`);
  let cuts = CUTS;
  const sendRegularly = () => {
    let sent = 0;
    user.wire?.every(EVERY_MS, () => {
      sent += 1;
      user.sendMessage(mine[sent % mine.length]);
    });
    user.wire?.after(STAY_MS * (0.5 + Math.random()), () => {
      if (cuts === 0) {
        user.leave();
        return;
      }
      cuts -= 1;
      // These messages are in flight when the connection ends.
      mine.forEach((room) => user.sendMessage(room));
      user.cut(cuts % 2 ? 1000 : 1001);
    });
  };
  const reconnect = () => user.connect(sendRegularly, reconnect);
  user.connect(() => user.join(mine[0], () => user.join(mine[1], sendRegularly)), reconnect);
}
