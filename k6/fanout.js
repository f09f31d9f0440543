// One big room with a few writers and many readers. This is most of a server's work, and it shows one wake-up or one
// write too many for each recipient.
//
// Uses the event-based API: a VU of `k6/ws` has one connection, and hundreds of VUs would measure k6's own engines. k6
// handles about 12,000 deliveries a second on each core. Beyond that, `chat_delivery` measures k6.

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
    // Most readers have joined by then. A later reader starts at a later message.
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

/** Runs a share of the readers. Each stays until it has the last message of every sender. */
export function read() {
  const first = exec.vu.iterationInInstance + exec.vu.idInTest;
  for (let n = 0; n < share(exec.scenario.iterationInTest); n += 1) {
    const user = new User(`reader-${first}-${n}`, evented);
    let activeSenders = SENDERS;
    user.onmessage = (message) => {
      if (message.body.last) {
        activeSenders -= 1;
      }
      if (activeSenders === 0) {
        user.leave(1000);
      }
    };
    user.connect(() => user.join(ROOM));
  }
}

/** Runs the senders. */
export function write() {
  for (let n = 0; n < SENDERS; n += 1) {
    const user = new User(`writer-${n}`, evented);
    let left = MESSAGES;
    user.connect(() => {
      user.join(ROOM, () => {
        user.wire?.every((1000 * SENDERS) / RATE, () => {
          left -= 1;
          if (left >= 0) {
            user.sendMessage(ROOM, { last: left === 0 });
          }
          if (left === 0) {
            user.leave(1001);
          }
        });
      });
    });
  }
}

/** The number of readers of one VU. @param {number} nth */
function share(nth) {
  return Math.floor(RECEIVERS / VUS) + (nth < RECEIVERS % VUS ? 1 : 0);
}
