import type { Message, PendingSend, User } from "@chat-core/client";
import type { Act } from "./record.ts";
import { dayOf } from "./format.ts";

/** One line of the list: a message or an act, with what stands above it. */
export interface Row {
  readonly key: string;
  readonly user: User;
  readonly at: number;
  readonly message?: Message;
  readonly pending?: PendingSend;
  readonly act?: Act;
  /** True if the avatar and the name are shown. */
  readonly isHead: boolean;
  readonly startsDay: boolean;
  /** True for the first message that the user has not seen. */
  readonly isFresh: boolean;
}

/** Messages of one user within this time share their avatar. */
const GROUP_MS = 5 * 60_000;

interface Parts {
  readonly messages: readonly Message[];
  /** The acts among these messages. */
  readonly acts: readonly Act[];
  readonly pending: readonly PendingSend[];
  readonly me: User | undefined;
  /** The last entry that was seen before. */
  readonly freshAfter: number | undefined;
}

const NOBODY: User = { id: "", name: "" };

export function buildRows({ messages, acts, pending, me, freshAfter }: Parts): readonly Row[] {
  const rows: Row[] = [];
  let isFreshShown = freshAfter === undefined;
  let next = 0;
  const placeActs = (before: number) => {
    for (let act = acts[next]; act !== undefined && act.seq < before; act = acts[++next]) {
      rows.push(place(rows.at(-1), { key: `a${act.seq}`, user: NOBODY, at: act.at, act, isFresh: false }));
    }
  };
  for (const message of messages) {
    placeActs(message.seq);
    const { user, at, seq, key } = message;
    const isFresh = !isFreshShown && seq > (freshAfter ?? 0) && user.id !== me?.id;
    isFreshShown ||= isFresh;
    // The row of a message of this client keeps its key when the message is stored, so its element stays.
    const row = user.id === me?.id && key !== undefined ? `k${key}` : `s${seq}`;
    rows.push(place(rows.at(-1), { key: row, user, at, message, isFresh }));
  }
  placeActs(Infinity);
  for (const send of pending) {
    const user = me ?? NOBODY;
    rows.push(place(rows.at(-1), { key: `k${send.key}`, user, at: send.at, pending: send, isFresh: false }));
  }
  return rows;
}

/** The row of each message in its latest form. An unchanged row is the same object, and is not rendered again. */
const known = new WeakMap<Message | PendingSend | Act, Row>();

function place(previous: Row | undefined, row: Omit<Row, "isHead" | "startsDay">): Row {
  const link = row.message ?? row.pending;
  const source = link ?? row.act;
  const startsDay = previous === undefined || dayOf(previous.at) !== dayOf(row.at);
  const continues =
    previous !== undefined &&
    !startsDay &&
    !row.isFresh &&
    previous.act === undefined &&
    previous.user.id === row.user.id &&
    row.at - previous.at < GROUP_MS &&
    link?.reply_to === undefined &&
    link?.thread === (previous.message ?? previous.pending)?.thread;
  const old = source === undefined ? undefined : known.get(source);
  if (old !== undefined && old.isHead === !continues && old.startsDay === startsDay && old.isFresh === row.isFresh) {
    return old;
  }
  const placed = { ...row, isHead: !continues, startsDay };
  if (source !== undefined) known.set(source, placed);
  return placed;
}
