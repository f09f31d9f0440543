import type { Messages } from "./messages.js";
import type { RoomState } from "./types.js";
import type { Events, Message } from "./wire.js";

/** The number from which unread messages are not counted any more. */
const MAX_UNREAD = 100;

/** Counts the messages after the marker of this user: those that are held, and what the server counted before them. */
export function countUnread(
  messages: Messages,
  marker: number,
  joined: Events["joined"],
  me = "",
): Pick<RoomState, "unread" | "mentions"> {
  // Messages that are not held can only be known from the server's count at the same marker.
  const useCount = messages._more && (messages._all()[0]?.seq ?? Infinity) > marker + 1 && joined.read === marker;
  const start: Partial<Events["joined"]> & { readonly seq: number } = useCount ? joined : { seq: marker };
  let { unread = 0, mentions = 0 } = start;
  // The newest are counted first, as on the server, where the mentions are those among the counted messages.
  const all = messages._all();
  for (let index = all.length; index-- && unread < MAX_UNREAD; ) {
    const { seq, user, deleted, mentions: mentioned } = all[index] as Message;
    if (seq <= start.seq) break;
    if (deleted || user.id === me) continue;
    unread++;
    if (mentioned === "@room" || mentioned?.includes(me)) mentions++;
  }
  return { unread, mentions };
}
