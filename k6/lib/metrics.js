// Metrics of a chat that k6 does not have. At its end, every user adds to each counter, also zeros, because k6 passes a
// threshold on a metric without samples.

import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

/** Users that have started. Each must end up in `audited`. */
export const users = new Counter('chat_users');
/** Users that have compared what they got with what the room holds. */
export const audited = new Rate('chat_audited');
/** Rooms that the scenario writes into. */
export const rooms = new Gauge('chat_rooms');

/** Handshakes answered with 101. The tag `status` has the status, or 0 with the event-based API. */
export const upgraded = new Rate('chat_upgraded');
/** Connections that ended. The tag `code` has the close code, or 0 with the event-based API. */
export const closed = new Counter('chat_closed');
/** Connections that ended although their user wanted to stay. */
export const dropped = new Counter('chat_dropped');
/** `error` events, by `code`. */
export const errors = new Counter('chat_errors');

/** Sends that have a `sent`. */
export const acknowledged = new Counter('chat_acknowledged');
/** Sends that have no `sent`, although their user waited for it. */
export const unanswered = new Counter('chat_unanswered');
/** Time from `send` to `sent`. */
export const acknowledgement = new Trend('chat_acknowledgement', true);
/** Time from `send` to `message`, for all members that were present, in whole milliseconds of k6's clock. */
export const delivery = new Trend('chat_delivery', true);

/** Messages that users must get: all from their `joined` to the newest one when they left. */
export const expected = new Counter('chat_expected');
/** Expected messages that arrived. */
export const delivered = new Counter('chat_delivered');
/** Expected messages that did not arrive, and acknowledged ones that the room has under another `seq`. */
export const lost = new Counter('chat_lost');
/** Messages that arrived more than once. */
export const duplicated = new Counter('chat_duplicated');
/** Messages that arrived after one with a higher `seq`. */
export const reordered = new Counter('chat_reordered');
/** Messages that a `gap` reported as missing. */
export const skipped = new Counter('chat_skipped');
/** Messages that a resume replayed. */
export const replayed = new Counter('chat_replayed');
/** Sends that were repeated after a resume and were already stored. */
export const repeated = new Counter('chat_repeated');
/** Resumes that brought everything that was missed. */
export const recovered = new Rate('chat_recovered');

/** Changes of messages that a user has made, and that have a `done` with an entry. */
export const changed = new Counter('chat_changed');
/** Announcements of new entries in rooms that users follow. */
export const activities = new Counter('chat_activities');
/** Messages that were read again by a user that leaves, and compared with those that the user has followed. */
export const compared = new Counter('chat_compared');
/** Compared messages, pinned messages, markers and numbers of unread messages that differ. */
export const differing = new Counter('chat_differing');

/** Thresholds that hold for every scenario on any machine. Latency has none, because it depends on the machine. */
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
