import type { Messages } from "./messages.js";
import type { RoomState } from "./types.js";
import type { Events } from "./wire.js";

/** The number from which unread messages are not counted any more. */
const MAX_UNREAD = 100;

/** Counts the messages after the marker of this user: those that are held, and what the server counted before them. */
export function countUnread(
  { _all, _first = Infinity, _more }: Messages,
  marker: number,
  joined: Events["joined"] | undefined,
  me = "",
): Pick<RoomState, "unread" | "mentions"> {
  // Messages that are not held can only be known from the server's count at the same marker.
  const useCount = _more && _first > marker + 1 && joined?.read === marker;
  let [unread, mentions] = useCount ? [joined.unread ?? 0, joined.mentions ?? 0] : [0, 0];
  const after = useCount ? joined.seq : marker;
  for (const { seq, user, deleted, mentions: mentioned } of _all) {
    if (seq <= after || deleted || user.id === me) continue;
    unread++;
    if (mentioned === "@room" || mentioned?.includes(me)) mentions++;
  }
  return { unread: Math.min(unread, MAX_UNREAD), mentions: Math.min(mentions, MAX_UNREAD) };
}
