// Ordinary use for a long time: users arrive, write from time to time, lose the network once, and leave. This shows
// leaks: `just k6 soak warp` compares connections, rooms, descriptors, threads and memory with those at the start.
//
// Uses `k6/ws`, because its close codes say which side ended a connection.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { recovered, rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { blocking } from './lib/wire.js';

const USERS = size('USERS', 50);
const MINUTES = size('MINUTES', 10);
const STAY_MS = size('STAY_MS', 20000);
const EVERY_MS = size('EVERY_MS', 2000);
const ROOMS = size('ROOMS', 10);

export const options = {
  tags: TAGS,
  scenarios: {
    soak: {
      executor: 'constant-vus',
      vus: USERS,
      duration: `${Math.ceil(MINUTES * 60)}s`,
      gracefulStop: `${Math.ceil((2 * STAY_MS) / 1000) + 60}s`,
    },
  },
  thresholds: { ...SOUND, chat_recovered: ['rate==1'] },
};

export function setup() {
  rooms.add(ROOMS);
}

export default function () {
  const user = new User(`soak-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`, blocking);
  const room = `soak-${exec.vu.idInTest % ROOMS}`;
  const sendRegularly = (/** @type {() => void} */ end) => {
    user.wire?.every(EVERY_MS, () => user.sendMessage(room));
    user.wire?.after(STAY_MS * (0.5 + Math.random()), end);
  };
  const reconnect = () => user.connect(() => sendRegularly(() => user.leave()));
  user.connect(() => user.join(room, () => sendRegularly(() => user.cut())), reconnect);
  recovered.add(true);
}
