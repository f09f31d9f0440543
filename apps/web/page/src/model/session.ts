import { type Chat, type Room, connect } from "@chat-core/client";
import { type Identity, chatPath } from "./identity.ts";
import { Seen, knownRooms, remember } from "./known.ts";
import { Line } from "./line.ts";

/** More than a window holds by default, because the list shows thousands of messages without effort. */
const WINDOW = 20_000;

/** The chat of one person in this tab. */
export class Session {
  readonly line = new Line();
  readonly chat: Chat;
  #seen: Seen | undefined;

  constructor(identity: Identity) {
    this.chat = connect(chatPath(), { ...identity, WebSocket: this.line.WebSocket, window: WINDOW });
    for (const name of knownRooms.state) this.chat.join(name);
  }

  get me(): string {
    return this.chat.state.user?.id ?? "";
  }

  /** The marks of what this user has seen. Nothing is seen before the server has said who this user is. */
  get seen(): Seen {
    if (this.#seen === undefined && this.me === "") return new Seen("");
    return (this.#seen ??= new Seen(this.me));
  }

  open(name: string): Room {
    remember(name);
    return this.chat.rooms.get(name) ?? this.chat.join(name);
  }

  end(): void {
    this.chat.close();
  }
}
