import { type Chat, type Room, type RoomSummary, type User, connect, roomName } from "@chat-core/client";
import { Directory } from "./directory.ts";
import { Edits } from "./edits.ts";
import { type Identity, chatPath } from "./identity.ts";
import { Line } from "./line.ts";
import { browser, isRecord, tab, text } from "./memory.ts";
import { place, visit } from "./place.ts";
import { OwnReactions } from "./reactions.ts";
import { RoomRecord } from "./record.ts";
import { Cell } from "./store.ts";

/** More than a window holds by default, because the list shows thousands of messages without effort. */
const WINDOW = 20_000;

/** The largest number of rooms that this tab stays in. The others of the list are only followed. */
const MAX_JOINED = 20;

/** Milliseconds between two questions for a room that was refused. */
const ASK_PAUSE = 2_000;

/** Keeps the name of a user: the server names the other user of a direct room only once that user has joined it. */
const rememberUser = ({ id, name }: User) => browser.write(`user.${id}`, name);

/** The name to show for the other user of a direct room. */
const nameOfUser = ({ id, name }: User): string => (name === id ? text(browser.read(`user.${id}`)) : name) ?? id;

/** The chat of one person in this tab. */
export class Session {
  readonly line = new Line();
  readonly chat: Chat;
  readonly directory: Directory;
  readonly reactions = new OwnReactions();
  readonly edits = new Edits();
  /** The rooms in which the server has no edits, deletions and reactions, although it did not say so. */
  readonly simpleRooms = new Cell<ReadonlySet<string>>(new Set());
  readonly #records = new WeakMap<Room, RoomRecord>();
  /** The rooms that this tab is in, the last visited one first. */
  #joined: readonly string[] = [];
  #mayAskAt = 0;
  /** What was read before a reload. */
  readonly #read = tab.read("read");
  readonly #stop = new AbortController();
  readonly #ends: (() => void)[];

  /** True if the user has only a name. */
  readonly isGuest: boolean;

  constructor(identity: Identity) {
    this.isGuest = "name" in identity;
    this.chat = connect(chatPath(), { ...identity, WebSocket: this.line.WebSocket, window: WINDOW });
    this.directory = new Directory(this.chat);
    this.#ends = [
      // The address can change without the page, by a link or the browser's history.
      place.subscribe((where) => {
        if (where !== undefined) this.#visit(where.room);
      }),
      this.directory.list.subscribe((list) => {
        // Without a list on the server, only a member knows what is unread.
        if (!this.directory.isKept) for (const { room } of list) this.#join(room);
      }),
    ];
    // Another device may have added rooms.
    const refresh = () => void (document.visibilityState === "visible" && this.directory.refreshSoon());
    document.addEventListener("visibilitychange", refresh, this.#stop);
    addEventListener("pagehide", () => this.#keepRead(), this.#stop);
  }

  get me(): string {
    return this.chat.state.user?.id ?? "";
  }

  /** A room that this tab is in. */
  find(name: string): Room | undefined {
    return this.chat.rooms.get(roomName(name));
  }

  /** What is unread in a room of the list. */
  unread(entry: RoomSummary): Pick<RoomSummary, "unread" | "mentions"> {
    const state = this.find(entry.room)?.state;
    return state?.cursor === undefined ? entry : state;
  }

  /** What the log of a room has beside messages. */
  record(room: Room): RoomRecord {
    let record = this.#records.get(room);
    if (record === undefined) this.#records.set(room, (record = new RoomRecord(this.chat, room)));
    return record;
  }

  /** The name of a room to show: of the other user, or the title. */
  nameOf(name: string): string {
    const state = this.find(name)?.state;
    const { with: user, title } = (state?.cursor === undefined ? this.directory.find(name) : state) ?? {};
    return (user && nameOfUser(user)) ?? title ?? name;
  }

  /** Opens the direct room of this user and another one. */
  async writeTo(user: User): Promise<void> {
    rememberUser(user);
    const { room, with: other } = await this.chat.request({ type: "join", with: user.id });
    this.directory.add(room);
    this.directory.update({ room, ...(other && { with: other }) });
    visit(room);
  }

  /**
   * Asks the server again for a room that it has refused, now or after a pause: a server closes a connection after ten
   * refusals in ten seconds. Messages that were not sent stay.
   */
  retry(name: string): void {
    const room = this.find(name);
    if (room?.state.status !== "refused") return;
    const pause = this.#mayAskAt - Date.now();
    if (pause > 0) {
      setTimeout(() => this.retry(name), pause);
      return;
    }
    this.#mayAskAt = Date.now() + ASK_PAUSE;
    room.leave();
    this.chat.join(name);
  }

  /** Leaves a room, and takes it from the list. The address must name another one. */
  remove(name: string): void {
    this.#leave(name);
    this.directory.remove(name);
  }

  lacksActions(room: string): void {
    this.simpleRooms.set(new Set(this.simpleRooms.state).add(room));
  }

  #visit(name: string): void {
    this.retry(name);
    this.#join(name);
    this.directory.add(name);
    this.#joined = [name, ...this.#joined.filter((other) => other !== name)];
    if (!this.directory.isKept) return;
    for (const other of this.#joined.slice(MAX_JOINED)) {
      // Otherwise messages on their way would fail.
      if (this.find(other)?.state.pending.length === 0) this.#leave(other);
    }
  }

  #join(name: string): void {
    if (this.#joined.includes(name)) return;
    this.#joined = [...this.#joined, name];
    // From the first event on.
    const room = this.chat.join(name);
    this.record(room);
    const { epoch, seq } = (isRecord(this.#read) && isRecord(this.#read[name]) && this.#read[name]) || {};
    const end = room.subscribe(({ status, cursor }) => {
      if (status !== "live") return;
      if (cursor?.epoch === epoch && typeof seq === "number") room.read(seq);
      queueMicrotask(() => end());
    });
  }

  #leave(name: string): void {
    const room = this.find(name);
    if (room === undefined || !this.#joined.includes(name)) return;
    const { cursor, read, unread, mentions, title, with: user } = room.state;
    if (cursor !== undefined) {
      const known = { ...(title !== undefined && { title }), ...(user && { with: user }) };
      this.directory.set({ room: name, seq: cursor.seq, read, unread, mentions, ...known });
    }
    this.#joined = this.#joined.filter((other) => other !== name);
    room.leave();
  }

  /** Some browsers do not send what a page sends at its end. */
  #keepRead(): void {
    const rooms = [...this.chat.rooms].map(([name, { state }]) => [name, { ...state.cursor, seq: state.read }]);
    tab.write("read", Object.fromEntries(rooms));
  }

  end(): void {
    this.#stop.abort();
    for (const end of this.#ends) end();
    this.chat.close();
  }
}
