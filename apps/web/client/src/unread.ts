import type { Messages } from "./messages.js";
import type { RoomState } from "./types.js";
import type { Events } from "./wire.js";

/** The number from which unread messages are not counted any more. */
const MAX_UNREAD = 100;

/** Counts the messages after the marker of this user: those that are held, and what the server counted before them. */
export function countUnread(
  messages: Messages,
  marker: number,
  joined: Events["joined"] | undefined,
  me = "",
): Pick<RoomState, "unread" | "mentions"> {
  // Messages that are not held can only be known from the server's count at the same marker.
  const useCount = messages._more && (messages._all()[0]?.seq ?? Infinity) > marker + 1 && joined?.read === marker;
  const start: Partial<Events["joined"]> & { readonly seq: number } = useCount ? joined : { seq: marker };
  let { unread = 0, mentions = 0 } = start;
  for (const { seq, user, deleted, mentions: mentioned } of messages._all()) {
    if (seq <= start.seq || deleted || user.id === me) continue;
    unread++;
    if (mentioned === "@room" || mentioned?.includes(me)) mentions++;
  }
  return { unread: Math.min(unread, MAX_UNREAD), mentions: Math.min(mentions, MAX_UNREAD) };
}
