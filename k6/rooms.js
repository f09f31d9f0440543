// Many small rooms in which every member writes from time to time, as in most chats. The rooms share only the server.
//
// Uses the event-based API: a VU runs the members of several rooms.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { evented } from './lib/wire.js';

const ROOMS = size('ROOMS', 80);
const MEMBERS = size('MEMBERS', 5);
const MESSAGES = size('MESSAGES', 10);
const EVERY_MS = size('EVERY_MS', 1500);
const VUS = size('VUS', 4);

export const options = {
  tags: TAGS,
  scenarios: {
    rooms: {
      executor: 'per-vu-iterations',
      vus: VUS,
      iterations: 1,
      maxDuration: `${Math.ceil((MESSAGES * EVERY_MS) / 1000) + 120}s`,
    },
  },
  thresholds: { ...SOUND, chat_acknowledged: [`count==${ROOMS * MEMBERS * MESSAGES}`] },
};

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  for (let room = exec.scenario.iterationInTest; room < ROOMS; room += VUS) {
    for (let n = 0; n < MEMBERS; n += 1) {
      member(`room-${room}`, `member-${room}-${n}`);
    }
  }
}

/**
 * Runs one member.
 *
 * @param {string} room
 * @param {string} name
 */
function member(room, name) {
  const user = new User(name, evented);
  let left = MESSAGES;
  user.connect(() => {
    user.join(room, () => {
      // Spreads the members over the interval.
      user.wire?.after(Math.random() * EVERY_MS, () => {
        user.wire?.every(EVERY_MS, () => {
          left -= 1;
          if (left >= 0) {
            user.sendMessage(room);
          }
          if (left === 0) {
            user.leave();
          }
        });
      });
    });
  });
}
