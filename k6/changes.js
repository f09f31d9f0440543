// Users that edit, delete and react to messages, answer them in threads, mention each other, read, and follow a second
// room. Every entry must arrive once and in order, and what a user has followed must equal what the server has in the
// end: each message with its changes, the pinned messages, and the number of unread messages.
//
// Uses the event-based API: a VU runs several users. Guests edit and delete only what the same connection has sent.

import exec from 'k6/execution';
import { User } from './lib/chat.js';
import { activities, changed, compared, differing, rooms, SOUND } from './lib/metrics.js';
import { size, TAGS } from './lib/settings.js';
import { View } from './lib/view.js';
import { evented } from './lib/wire.js';

const USERS = size('USERS', 20);
const ROUNDS = size('ROUNDS', 20);
const EVERY_MS = size('EVERY_MS', 250);
const PATIENCE_MS = size('PATIENCE_MS', 20000);
const VUS = size('VUS', 2);

/** The time between two comparisons of a user that leaves. The changes of others may still be on their way. */
const RETRY_MS = 300;
/** The largest page of the server. */
const PAGE = 200;
const REACTIONS = ['👍', '🎉', '안녕'];

export const options = {
  tags: TAGS,
  scenarios: {
    change: {
      executor: 'per-vu-iterations',
      vus: VUS,
      iterations: 1,
      maxDuration: `${Math.ceil((ROUNDS * EVERY_MS) / 1000) + 120}s`,
    },
  },
  thresholds: {
    ...SOUND,
    chat_acknowledged: [`count==${USERS * ROUNDS}`],
    chat_changed: [`count>=${USERS * ROUNDS}`],
    chat_compared: [`count>=${USERS}`],
    chat_differing: ['count==0'],
    // A user is told of the room of another VU.
    ...(VUS > 1 ? { chat_activities: ['count>0'] } : {}),
  },
};

export function setup() {
  rooms.add(VUS);
}

export default function () {
  const room = `changes-${exec.scenario.iterationInTest}`;
  const followed = `changes-${(exec.scenario.iterationInTest + 1) % VUS}`;
  for (let n = exec.scenario.iterationInTest; n < USERS; n += VUS) {
    member(room, `member-${n}`, `member-${(n + VUS) % USERS}`, followed);
  }
}

/**
 * Runs one member.
 *
 * @param {string} room
 * @param {string} name
 * @param {string} friend the user whom it mentions
 * @param {string} followed a room that it follows
 */
function member(room, name, friend, followed) {
  const user = new User(name, evented);
  /** @type {View | undefined} */
  let view;
  let round = 0;
  user.onmessage = (message) => view?.receive(message);
  user.onactivity = () => activities.add(1);
  user.onchanged = (change) => view?.apply(change);
  user.onaudited = (then) => compare(user, room, /** @type {View} */ (view), Date.now() + PATIENCE_MS / 2, then);
  user.connect(() => {
    user.join(room, (joined) => {
      view = new View(joined, name);
      // What is unread before is not held.
      user.markRead(room, joined.seq, (seq) => view?.read(seq));
      // The rooms of other VUs, which this user is not in.
      user.follow(followed, true);
      user.wire?.after(Math.random() * EVERY_MS, () => {
        user.wire?.every(EVERY_MS, () => {
          if (round < ROUNDS) {
            step(user, room, /** @type {View} */ (view), round, friend);
          } else if (round === ROUNDS) {
            user.leave();
          }
          round += 1;
        });
      });
    });
  });
}

/**
 * Sends a message, and changes some. A user deletes only messages in threads, and nobody changes those of others, so
 * that no command comes too late.
 *
 * @param {User} user
 * @param {string} room
 * @param {View} view
 * @param {number} round
 * @param {string} friend
 */
function step(user, room, view, round, friend) {
  const held = [...view.messages.values()];
  const roots = held.filter((message) => !message.thread);
  const mine = held.filter((message) => message.user.id === user.name && !message.deleted);
  const root = roots[roots.length - 1 - Math.floor(Math.random() * Math.min(5, roots.length))]?.seq;
  const links = [{}, { reply_to: root }, { thread: root }, { mentions: [friend] }][round % 4];
  user.sendMessage(room, {}, links);
  const done = (/** @type {{ seq?: number }} */ reply) => changed.add(reply.seq ? 1 : 0);
  const edited = mine.filter((message) => !message.thread).pop();
  if (edited) {
    user.change(room, edited.seq, { type: 'edit', body: { text: `round ${round}` } }, done);
  }
  const deleted = mine.find((message) => message.thread);
  if (deleted && round % 5 === 4) {
    user.change(room, deleted.seq, { type: 'delete', reason: 'a test' }, done);
  }
  if (root) {
    const reaction = REACTIONS[round % REACTIONS.length];
    user.change(room, root, { type: 'react', reaction, on: round % 6 !== 5 }, done);
  }
  if (round % 3 === 2 && root) {
    user.markRead(room, root, (position) => view.read(position));
  }
}

/**
 * Compares what the user has followed with what the server has, until both are equal.
 *
 * @param {User} user
 * @param {string} room
 * @param {View} view
 * @param {number} until
 * @param {() => void} then
 */
function compare(user, room, view, until, then) {
  readAll(user, room, view.asOf, [], (fresh) => {
    user.inspect(room, (joined) => {
      const { read, unread, mentions } = view.unread;
      const marker = joined.read === read && joined.unread === Math.min(unread, 100);
      const counted = unread < 100 ? joined.mentions === mentions : true;
      const pins = `${joined.pins ?? []}` === `${[...view.pins].sort((one, other) => one - other)}`;
      const count = view.differences(fresh) + [marker && counted, pins].filter((equal) => !equal).length;
      if (count > 0 && Date.now() < until) {
        user.wire?.after(RETRY_MS, () => compare(user, room, view, until, then));
        return;
      }
      compared.add(fresh.length);
      differing.add(count);
      then();
    });
  });
}

/**
 * Reads all messages after a position.
 *
 * @param {User} user
 * @param {string} room
 * @param {number} after
 * @param {import('./lib/commands.js').Message[]} before
 * @param {(messages: import('./lib/commands.js').Message[]) => void} then
 */
function readAll(user, room, after, before, then) {
  user.readPage(room, { after, limit: PAGE }, ({ messages, more }) => {
    const all = [...before, ...messages];
    const last = messages[messages.length - 1];
    if (more && last) {
      readAll(user, room, last.seq, all, then);
    } else {
      then(all);
    }
  });
}
