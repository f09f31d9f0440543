import type { Message } from "@chat-core/client";
import { Cell, type Source } from "./store.ts";

/** The reactions of one room that this user has set in this tab: `42 👍`. */
export type Reacted = ReadonlySet<string>;

const NONE: Reacted = new Set();

/** What the user has reacted with in this tab, because the server names only the first users of a reaction. */
export class OwnReactions {
  readonly #rooms = new Map<string, Cell<Reacted>>();

  of(room: string): Source<Reacted> {
    return this.#cell(room);
  }

  /** Notes what the server has confirmed. */
  set(room: string, seq: number, reaction: string, on: boolean): void {
    const cell = this.#cell(room);
    const next = new Set(cell.state);
    if (on) next.add(key(seq, reaction));
    else next.delete(key(seq, reaction));
    cell.set(next);
  }

  #cell(room: string): Cell<Reacted> {
    let cell = this.#rooms.get(room);
    if (cell === undefined) this.#rooms.set(room, (cell = new Cell(NONE)));
    return cell;
  }
}

function key(seq: number, reaction: string): string {
  return `${seq} ${reaction.normalize("NFC")}`;
}

/** True if the message has this reaction of the user, as far as this tab can know. */
export function hasReacted(message: Message, reaction: string, me: string, own: Reacted): boolean {
  const found = message.reactions?.find((other) => other.reaction === reaction.normalize("NFC"));
  if (found === undefined) return false;
  if (found.users.some(({ id }) => id === me)) return true;
  // The names of a short list are complete.
  return found.users.length < found.count && own.has(key(message.seq, reaction));
}
