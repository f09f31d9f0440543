import { type Chat, type Room, connect, roomName } from "@chat-core/client";
import { Edits } from "./edits.ts";
import { type Identity, chatPath } from "./identity.ts";
import { Seen, forget, knownRooms, remember } from "./known.ts";
import { Line } from "./line.ts";
import { place } from "./place.ts";
import { OwnReactions } from "./reactions.ts";
import { Cell } from "./store.ts";

/** More than a window holds by default, because the list shows thousands of messages without effort. */
const WINDOW = 20_000;

/** The chat of one person in this tab. */
export class Session {
  readonly line = new Line();
  readonly chat: Chat;
  readonly reactions = new OwnReactions();
  readonly edits = new Edits();
  /** The rooms in which the server has no edits, deletions and reactions, although it did not say so. */
  readonly simpleRooms = new Cell<ReadonlySet<string>>(new Set());
  readonly #end: () => void;
  #seen: Seen | undefined;

  constructor(identity: Identity) {
    this.chat = connect(chatPath(), { ...identity, WebSocket: this.line.WebSocket, window: WINDOW });
    for (const name of knownRooms.state) this.chat.join(name);
    // The address can change without the page, by a link or the browser's history.
    this.#end = place.subscribe((where) => {
      if (where !== undefined) this.#visit(where.room);
    });
  }

  get me(): string {
    return this.chat.state.user?.id ?? "";
  }

  /** The marks of what this user has seen. Nothing is seen before the server has said who this user is. */
  get seen(): Seen {
    if (this.#seen === undefined && this.me === "") return new Seen("");
    return (this.#seen ??= new Seen(this.me));
  }

  /** A room of the list, or the one that the address names. */
  find(name: string): Room | undefined {
    return this.chat.rooms.get(roomName(name));
  }

  /** Leaves a room, and takes it from the list. The address must name another one. */
  remove(room: Room): void {
    room.leave();
    forget(room.name);
  }

  lacksActions(room: string): void {
    this.simpleRooms.set(new Set(this.simpleRooms.state).add(room));
  }

  #visit(name: string): void {
    if (knownRooms.state.includes(name)) return;
    remember(name);
    this.chat.join(name);
  }

  end(): void {
    this.#end();
    this.chat.close();
  }
}
