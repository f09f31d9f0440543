// What a chat has to be judged by, and k6 does not know. Every user adds to each counter at its end, zeros too: a
// threshold on a metric without samples is passed without a look.

import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

/** Users that have begun; each must end up in `audited`. */
export const users = new Counter('chat_users');
/** Users that have compared what they got with what the room holds. */
export const audited = new Rate('chat_audited');
/** Rooms that the scenario writes into. */
export const rooms = new Gauge('chat_rooms');

/** Handshakes answered with 101; the tag `status` has the rest (only `k6/ws` tells: otherwise 0). */
export const upgraded = new Rate('chat_upgraded');
/** Connections that ended, by `code` (only `k6/ws` tells: otherwise 0). */
export const closed = new Counter('chat_closed');
/** Connections that ended although their user wanted to stay. */
export const dropped = new Counter('chat_dropped');
/** `error` events, by `code`. */
export const errors = new Counter('chat_errors');

/** Messages that were sent and have had their `sent`. */
export const acknowledged = new Counter('chat_acknowledged');
/** Messages that were sent and have had no `sent`, although their user waited for it. */
export const unanswered = new Counter('chat_unanswered');
/** From `send` to its `sent`. */
export const acknowledgement = new Trend('chat_acknowledgement', true);
/** From `send` to `message`, for all who were there. One clock: k6's, which counts whole milliseconds. */
export const delivery = new Trend('chat_delivery', true);

/** Messages that users were to get: all from where they joined to where the room was when they left. */
export const expected = new Counter('chat_expected');
/** Of these, those that came. */
export const delivered = new Counter('chat_delivered');
/** Of these, those that did not come. Also what was acknowledged and is not in the room under its `seq`. */
export const lost = new Counter('chat_lost');
/** Messages that came again. */
export const duplicated = new Counter('chat_duplicated');
/** Messages that came after one with a higher `seq`. */
export const reordered = new Counter('chat_reordered');
/** Messages of which a `gap` said that they would not come. */
export const skipped = new Counter('chat_skipped');
/** Messages that came after a return to a room and are older than it. */
export const replayed = new Counter('chat_replayed');
/** Messages that were sent again, after a return, and had been stored the first time. */
export const repeated = new Counter('chat_repeated');
/** Returns to a room that brought all that was missed. */
export const recovered = new Rate('chat_recovered');

/** What no scenario may break, however busy the machine is. Latency is for people to judge. */
export const SOUND = {
  chat_audited: ['rate==1'],
  chat_upgraded: ['rate==1'],
  chat_dropped: ['count==0'],
  chat_errors: ['count==0'],
  chat_unanswered: ['count==0'],
  chat_lost: ['count==0'],
  chat_duplicated: ['count==0'],
  chat_reordered: ['count==0'],
  chat_skipped: ['count==0'],
};
