import { browser, text } from "./memory.ts";
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
