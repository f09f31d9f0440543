import { createConnection } from "./connection.js";
import { ChatError, promised } from "./error.js";
import { random, roomName } from "./names.js";
import { createQueue, type Done, type Kind, type Queue } from "./queue.js";
import { type ChatRoom, createRoom } from "./room.js";
import { createSource, type Source } from "./source.js";
import type {
  Chat,
  ChatEvents,
  ChatState,
  ChatStatus,
  Command,
  ConnectOptions,
  JoinOptions,
  Room,
} from "./types.js";
import type { CommandType, Reply, WireEvent } from "./wire.js";

/** A chat with what its parts need of it. */
export interface ChatCore extends Chat, Source<ChatState, ChatEvents> {
  status: ChatStatus;
  rooms: ReadonlyMap<string, ChatRoom>;
  /** The largest number of messages in a room. */
  readonly _window: number;
  readonly _queue: Queue;
  /** Adds a command. */
  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void;
  /** Sends a frame without a reply, if there is a connection. */
  _send(frame: string): void;
  /** Returns true if the server can take the commands of a room, or those without one. */
  _isReady(room?: string): boolean;
  /** Handles the first event of a connection. */
  _resume(): void;
  /** Handles an event. */
  _handle(event: WireEvent): void;
  /** Handles the loss of the connection. */
  _lost(): void;
  /** Handles that nobody sees the page any more. */
  _hide(): void;
  /** Forgets a room that was left. */
  _remove(room: ChatRoom): void;
}

/**
 * Connects to a chat server. The client keeps the connection until `close()`, and resumes its rooms after a loss.
 *
 * @param url The address of the chat: `wss://host/ws`, `https://host/ws`, or in a browser also `/ws`.
 */
export function connect(url: string, options: ConnectOptions = {}): Chat {
  const { name, token, window = 2000, queue: limit = 200, timeout = 10_000 } = options;
  const target = new URL(url, globalThis.location?.href);
  target.protocol = target.protocol.replace("http", "ws");
  // A guest without a name is another user after each reconnect, so that its keys would be worth nothing.
  if (name ?? !token) target.searchParams.set("name", name ?? `visitor-${random().slice(0, 16)}`);

  const chat = createSource<ChatState, ChatEvents>(() => connection._state()) as ChatCore;
  const connection = createConnection(target.href, options, timeout, chat);
  const queue = createQueue(chat, limit, timeout);

  function add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    // A repeat after a lost reply has the same key, so that it has no second effect.
    const key = "body" in command && { key: random() };
    if (chat.status === "closed") done(chat.state.error);
    else queue._add({ ...key, ...command }, kind, done);
  }

  function setRooms(entries: [string, ChatRoom][]): void {
    chat.rooms = new Map(entries);
    chat._touch();
  }

  function join(name: string, options: JoinOptions = {}): Room {
    const normalized = roomName(name);
    let room = chat.rooms.get(normalized);
    if (!room) {
      room = createRoom(chat, normalized, options);
      setRooms([...chat.rooms, [normalized, room]]);
    }
    room._enter();
    return room;
  }

  function request<T extends CommandType>(command: Command<T>): Promise<Reply<T>> {
    return promised((done) => add(command, "timed", done as Done));
  }

  Object.assign(chat, connection, {
    rooms: new Map(),
    join,
    request,
    direct: async (user: string, options?: JoinOptions) =>
      join((await request({ type: "join", with: user })).room, options),
    close: () => connection._end(new ChatError("closed")),
    _window: window,
    _queue: queue,
    _add: add,
    _isReady: (room?: string) => chat.status === "online" && chat.rooms.get(room as string)?._isReady() !== false,
    _resume() {
      for (const room of chat.rooms.values()) room._resume();
      queue._pump();
    },
    _handle(event: WireEvent) {
      chat.rooms.get((event as { room: string }).room)?._handle(event);
      queue._handle(event);
      chat._emit(event.type, event as never);
    },
    _lost() {
      queue._lost();
      for (const room of chat.rooms.values()) room._lost();
    },
    _hide() {
      for (const room of chat.rooms.values()) room._report();
    },
    _remove(room: ChatRoom) {
      setRooms([...chat.rooms].filter(([, other]) => other !== room));
      // A `join` that is not answered yet makes a member too.
      const mayBeMember = chat.status === "online" && !room.state.error;
      queue._reject(new ChatError("left"), room.name);
      if (mayBeMember) add({ type: "leave", room: room.name }, "own", () => {});
    },
  });
  connection.reconnect();
  return chat;
}
