import type { Cursor, Message, RoomState } from "@chat-core/client";
import { browser, isRecord, text } from "./memory.ts";
import { Cell } from "./store.ts";

const FIRST_ROOM = "lobby";

function names(): readonly string[] {
  const stored = browser.read("rooms");
  const found = Array.isArray(stored) ? stored.filter((name) => text(name) !== undefined) : [];
  return found.length > 0 ? found.map(String) : [FIRST_ROOM];
}

/** The rooms that this browser knows, in the order in which they were added. */
export const knownRooms = new Cell<readonly string[]>(names());

export function remember(room: string): void {
  if (knownRooms.state.includes(room)) return;
  knownRooms.set([...knownRooms.state, room]);
  browser.write("rooms", knownRooms.state);
}

export function forget(room: string): void {
  knownRooms.set(knownRooms.state.filter((name) => name !== room));
  browser.write("rooms", knownRooms.state);
}

/** The newest entry of each room that one user has seen in this browser, for servers that keep no markers. */
export class Seen {
  readonly cursors: Cell<ReadonlyMap<string, Cursor>>;
  readonly #key: string;

  constructor(user: string) {
    this.#key = `seen.${user}`;
    const stored = browser.read(this.#key);
    const cursors = new Map<string, Cursor>();
    for (const [room, cursor] of Object.entries(isRecord(stored) ? stored : {})) {
      if (!isRecord(cursor)) continue;
      const { epoch, seq } = cursor;
      if (typeof epoch === "string" && typeof seq === "number") cursors.set(room, { epoch, seq });
    }
    this.cursors = new Cell<ReadonlyMap<string, Cursor>>(cursors);
  }

  /** The last entry seen, or `undefined` if this browser has not shown the room yet. */
  of({ name, cursor }: RoomState): number | undefined {
    const seen = this.cursors.state.get(name);
    if (seen === undefined) return undefined;
    // Another log has nothing in common with the one that was seen.
    return cursor === undefined || seen.epoch === cursor.epoch ? seen.seq : 0;
  }

  mark({ name, cursor }: RoomState, seq = cursor?.seq): void {
    if (cursor === undefined || seq === undefined) return;
    const seen = this.cursors.state.get(name);
    if (seen !== undefined && seen.epoch === cursor.epoch && seen.seq >= seq) return;
    this.cursors.set(new Map(this.cursors.state).set(name, { epoch: cursor.epoch, seq }));
    browser.write(this.#key, Object.fromEntries(this.cursors.state));
  }
}

const MOST = 100;

/** Counts the messages of others after an entry: exact below 100, then 100. */
export function countUnread(messages: readonly Message[], seen: number, me: string): number {
  let count = 0;
  for (let index = messages.length - 1; index >= 0 && count < MOST; index--) {
    const message = messages[index];
    if (message === undefined || message.seq <= seen) break;
    if (message.user.id !== me && message.deleted === undefined) count++;
  }
  return count;
}
