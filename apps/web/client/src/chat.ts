import { Connection } from "./connection.js";
import { ChatError } from "./error.js";
import { random, roomName } from "./names.js";
import { type Done, type Kind, type Line, Queue } from "./queue.js";
import { ChatRoom } from "./room.js";
import type { Chat, Command, ConnectOptions, JoinOptions, Room } from "./types.js";
import type { CommandType, Limits, Reply, WireEvent } from "./wire.js";

/** The rooms of a client, and the connection that they share. */
export class ChatClient extends Connection implements Chat, Line {
  /** The largest number of messages in a room. */
  readonly _window: number;
  readonly _queue: Queue;
  #rooms: ReadonlyMap<string, ChatRoom> = new Map();

  constructor(url: string, options: ConnectOptions = {}) {
    const { name, token, window = 2000, queue = 200, timeout = 10_000 } = options;
    const target = new URL(url, globalThis.location?.href);
    target.protocol = target.protocol.replace("http", "ws");
    // A guest without a name is another user after each reconnect, so that its keys would be worth nothing.
    if (name ?? !token) target.searchParams.set("name", name ?? `visitor-${random().slice(0, 16)}`);
    super(target.href, options, timeout);
    this._window = window;
    this._queue = new Queue(this, queue, timeout);
  }

  get rooms(): ReadonlyMap<string, Room> {
    return this.#rooms;
  }

  join(name: string, options: JoinOptions = {}): Room {
    const normalized = roomName(name);
    let room = this.#rooms.get(normalized);
    if (!room) {
      room = new ChatRoom(this, normalized, options);
      this.#setRooms([...this.#rooms, [normalized, room]]);
    }
    room._enter();
    return room;
  }

  async direct(user: string, options: JoinOptions = {}): Promise<Room> {
    const { room } = await this.request({ type: "join", with: user });
    return this.join(room, options);
  }

  request<T extends CommandType>(command: Command<T>): Promise<Reply<T>> {
    return new Promise((resolve, reject) => {
      this._add(command, "timed", (error, reply) => {
        if (error) reject(error);
        else resolve(reply as WireEvent & Reply<T>);
      });
    });
  }

  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    if (this.status === "closed") done(this.state.error);
    else this._queue._add(command, kind, done);
  }

  _isReady(room: string | undefined): boolean {
    return this._isOnline && (room === undefined || (this.#rooms.get(room)?._isReady ?? true));
  }

  protected override _silence(): number {
    return this._queue._silence;
  }

  protected override _onConnected({ max_frame: bytes }: Limits): void {
    this._queue._maxFrame = bytes;
    for (const room of this.#rooms.values()) room._resume();
    this._queue._pump();
  }

  protected override _onEvent(event: WireEvent): void {
    if (event.ref !== undefined) this._queue._reply(event.ref, event);
    else if (event.type === "error") this._queue._refused(event);
    if ("room" in event) this.#rooms.get(event.room ?? "")?._handle(event);
    this._emit(event.type, event as never);
  }

  protected override _onLost(): void {
    this._queue._lost();
    for (const room of this.#rooms.values()) room._lost();
  }

  protected override _onEnd(error: ChatError): void {
    this._queue._reject(error);
  }

  protected override _renew(token: string): void {
    this._add({ type: "hello", token }, "own", () => {});
  }

  /** Forgets a room that was left. */
  _remove(room: ChatRoom): void {
    this.#setRooms([...this.#rooms].filter(([, other]) => other !== room));
    this._queue._reject(new ChatError("left"), room.name);
    if (room._isJoined) this._add({ type: "leave", room: room.name }, "own", () => {});
  }

  #setRooms(rooms: [string, ChatRoom][]): void {
    this.#rooms = new Map(rooms);
    this._touch();
  }
}
