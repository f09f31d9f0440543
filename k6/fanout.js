// One big room: a few write, everybody reads. What a server does most, and where one wake or one write too many per
// recipient shows.
//
// On the event-based API: a VU of `k6/ws` has one connection, and hundreds of VUs would measure k6's own engines. k6
// itself takes about 12,000 deliveries a second for each core; beyond that, `chat_delivery` is about k6.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { evented } from './lib/wire.js';

const RECEIVERS = size('RECEIVERS', 200);
const SENDERS = size('SENDERS', 2);
const RATE = size('RATE', 20);
const DURATION = size('DURATION', 20);
const VUS = size('VUS', 4);

const MESSAGES = Math.ceil((RATE * DURATION) / SENDERS);
const ROOM = 'fanout';

export const options = {
  tags: TAGS,
  scenarios: {
    read: { executor: 'per-vu-iterations', exec: 'read', vus: VUS, iterations: 1, maxDuration: `${DURATION + 120}s` },
    // By then everybody is there; who is not, begins later in the room.
    write: {
      executor: 'per-vu-iterations',
      exec: 'write',
      vus: 1,
      iterations: 1,
      startTime: '3s',
      maxDuration: `${DURATION + 120}s`,
    },
  },
  thresholds: { ...SOUND, chat_acknowledged: [`count==${MESSAGES * SENDERS}`] },
};

export function setup() {
  rooms.add(1);
}

/** Some of the receivers: each stays until every sender has had its last word. */
export function read() {
  const first = exec.vu.iterationInInstance + exec.vu.idInTest;
  for (let n = 0; n < share(exec.scenario.iterationInTest); n += 1) {
    const user = new User(`reader-${first}-${n}`, evented);
    let speakers = SENDERS;
    user.onmessage = (message) => {
      if (message.body.last) {
        speakers -= 1;
      }
      if (speakers === 0) {
        user.leave(1000);
      }
    };
    user.connect(() => user.join(ROOM));
  }
}

export function write() {
  for (let n = 0; n < SENDERS; n += 1) {
    const user = new User(`writer-${n}`, evented);
    let left = MESSAGES;
    user.connect(() => {
      user.join(ROOM, () => {
        user.wire?.every((1000 * SENDERS) / RATE, () => {
          left -= 1;
          if (left >= 0) {
            user.say(ROOM, { last: left === 0 });
          }
          if (left === 0) {
            user.leave(1001);
          }
        });
      });
    });
  }
}

/** @param {number} nth */
function share(nth) {
  return Math.floor(RECEIVERS / VUS) + (nth < RECEIVERS % VUS ? 1 : 0);
}
