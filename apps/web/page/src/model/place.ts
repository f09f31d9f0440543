import { roomName } from "@chat-core/client";
import { browser, text } from "./memory.ts";
import { Cell } from "./store.ts";

const FIRST_ROOM = "lobby";

/** The room, and perhaps the message, that the address names: `#lobby` or `#lobby:42`. */
export interface Place {
  readonly room: string;
  readonly seq?: number;
}

function read(): Place | undefined {
  let hash: string;
  try {
    hash = decodeURIComponent(location.hash.slice(1));
  } catch {
    return undefined;
  }
  const [name = "", seq] = hash.split(":");
  const room = roomName(name.trim());
  if (room === "") return undefined;
  return seq !== undefined && /^\d{1,15}$/.test(seq) ? { room, seq: Number(seq) } : { room };
}

export const place = new Cell<Place | undefined>(read());
place.subscribe((where) => where !== undefined && browser.write("room", where.room));

/** True for the name of a direct room. No other room has such a name. */
export const isDirect = (room: string) => room.startsWith("direct-");

/** The room that this browser has shown last. */
export const lastRoom = () => text(browser.read("room")) ?? FIRST_ROOM;

addEventListener("hashchange", () => {
  const next = read();
  // `visit` has set the place before the event.
  if (next?.room !== place.state?.room || next?.seq !== place.state?.seq) place.set(next);
});

export function link(room: string, seq?: number): string {
  return `#${encodeURIComponent(room)}${seq === undefined ? "" : `:${seq}`}`;
}

/** The complete address of a room or a message, for the clipboard. */
export function address(room: string, seq?: number): string {
  return new URL(link(room, seq), location.href).href;
}

/** Goes to a room or a message. The place has changed when this returns; the browser's event comes later. */
export function visit(room: string, seq?: number): void {
  location.hash = link(room, seq);
  place.set(read());
}
