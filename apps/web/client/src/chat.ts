import { Connection } from "./connection.js";
import { ChatError } from "./error.js";
import { random, roomName } from "./names.js";
import { type Done, type Kind, Queue } from "./queue.js";
import { ChatRoom } from "./room.js";
import { Source } from "./source.js";
import type { Chat, ChatEvents, ChatState, ChatStatus, Command, ConnectOptions, JoinOptions, Room } from "./types.js";
import type { CommandType, Reply, WireEvent } from "./wire.js";

/** The commands that change nothing. */
const READS = new Set<CommandType>(["history", "members", "search", "rooms", "ping"]);

/** The rooms of a client, and the connection that they share. */
export class ChatClient extends Source<ChatState, ChatEvents> implements Chat {
  /** The largest number of messages in a room. */
  readonly _window: number;
  readonly #queue: Queue;
  readonly #connection: Connection;
  #rooms: ReadonlyMap<string, ChatRoom> = new Map();

  constructor(url: string, options: ConnectOptions = {}) {
    super();
    this._window = options.window ?? 2000;
    const line = {
      send: (frame: string) => this._send(frame),
      isReady: (room: string | undefined) =>
        this._isOnline && (room === undefined || (this.#rooms.get(room)?._isReady ?? true)),
    };
    this.#queue = new Queue(line, options.queue ?? 200, options.timeout ?? 10_000);
    const target = new URL(url, globalThis.location?.href);
    target.protocol = target.protocol.replace("http", "ws");
    // A guest without a name is another user after each reconnect, so that its keys would be worth nothing.
    const name = options.name ?? (options.token ? undefined : `visitor-${random().slice(0, 10)}`);
    if (name !== undefined) target.searchParams.set("name", name);
    this.#connection = new Connection(target.href, options, {
      onState: ({ limits }) => {
        if (limits) this.#queue._maxFrame = limits.max_frame;
        this._touch();
      },
      onConnected: () => {
        for (const room of this.#rooms.values()) room._resume();
        this.#queue._pump();
      },
      onEvent: (event) => this.#handle(event),
      onLost: () => {
        this.#queue._lost();
        for (const room of this.#rooms.values()) room._lost();
      },
      onEnd: (error) => this.#queue._reject(error),
      renew: (token) => this._add({ type: "hello", token }, "own", () => {}),
      silence: () => this.#queue._silence,
    });
  }

  protected override _build(): ChatState {
    return this.#connection._state;
  }

  get status(): ChatStatus {
    return this.#connection._state.status;
  }

  get rooms(): ReadonlyMap<string, Room> {
    return this.#rooms;
  }

  get _isOnline(): boolean {
    return this.status === "online";
  }

  join(name: string, options: JoinOptions = {}): Room {
    const normalized = roomName(name);
    let room = this.#rooms.get(normalized);
    if (!room) {
      room = new ChatRoom(this, normalized, options);
      this.#setRooms((rooms) => rooms.set(normalized, room as ChatRoom));
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
      this._add(command, READS.has(command.type) ? "read" : "write", (error, reply) => {
        if (error) reject(error);
        else resolve(reply as WireEvent & Reply<T>);
      });
    });
  }

  reconnect(): void {
    this.#connection._reconnect();
  }

  close(): void {
    this.#connection._end(new ChatError("closed"));
  }

  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    if (this.status === "closed") done(this.state.error);
    else this.#queue._add(command, kind, done);
  }

  /** Sends a frame without a reply, if there is a connection. */
  _send(frame: string): void {
    this.#connection._send(frame);
  }

  /** Forgets a room that was left. */
  _remove(room: ChatRoom): void {
    this.#setRooms((rooms) => rooms.delete(room.name));
    this.#queue._reject(new ChatError("left"), room.name);
    if (room._isJoined) this._add({ type: "leave", room: room.name }, "own", () => {});
  }

  /** Ends the commands of a room that the server refused. */
  _refuse(room: string, error: ChatError): void {
    this.#queue._reject(error, room);
  }

  /** Sends the commands that waited for a room. */
  _pump(): void {
    this.#queue._pump();
  }

  #setRooms(change: (rooms: Map<string, ChatRoom>) => void): void {
    const rooms = new Map(this.#rooms);
    change(rooms);
    this.#rooms = rooms;
    this._touch();
  }

  #handle(event: WireEvent): void {
    if (event.ref !== undefined) this.#queue._reply(event.ref, event);
    else if (event.type === "error") this.#queue._refused(event);
    if ("room" in event && event.room !== undefined) this.#rooms.get(event.room)?._handle(event);
    this._emit(event.type, event as never);
  }
}
