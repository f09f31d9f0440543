import { createConnection } from "./connection.js";
import { ChatError } from "./error.js";
import { random, roomName } from "./names.js";
import { createQueue, type Done, type Kind, type Queue } from "./queue.js";
import { type ChatRoom, createRoom } from "./room.js";
import { createSource } from "./source.js";
import type { Chat, ChatEvents, ChatState, Command, ConnectOptions, JoinOptions, Room } from "./types.js";
import type { CommandType, Reply, WireEvent } from "./wire.js";

/** A chat with what its rooms need of it. */
export interface ChatCore extends Chat {
  /** The largest number of messages in a room. */
  readonly _window: number;
  readonly _queue: Queue;
  /** Adds a command. */
  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void;
  /** Sends a frame without a reply, if there is a connection. */
  _send(frame: string): void;
  /** Forgets a room that was left. */
  _remove(room: ChatRoom): void;
}

/** Creates a chat: the rooms of a client, and the connection that they share. */
export function createChat(url: string, options: ConnectOptions = {}): Chat {
  const { name, token, window = 2000, queue: limit = 200, timeout = 10_000 } = options;
  const target = new URL(url, globalThis.location?.href);
  target.protocol = target.protocol.replace("http", "ws");
  // A guest without a name is another user after each reconnect, so that its keys would be worth nothing.
  if (name ?? !token) target.searchParams.set("name", name ?? `visitor-${random().slice(0, 16)}`);

  let rooms: ReadonlyMap<string, ChatRoom> = new Map();
  const isOnline = (): boolean => connection._state().status === "online";

  const connection = createConnection(target.href, options, timeout, {
    _onState: () => source._touch(),
    _onConnected() {
      for (const room of rooms.values()) room._resume();
      queue._pump();
    },
    _onEvent(event) {
      if (event.ref !== undefined) queue._reply(event.ref, event);
      else if (event.type === "error") queue._refused(event);
      if ("room" in event) rooms.get(event.room ?? "")?._handle(event);
      source._emit(event.type, event as never);
    },
    _onLost() {
      queue._lost();
      for (const room of rooms.values()) room._lost();
    },
    _onEnd: (error) => queue._reject(error),
    _renew: (token) => add({ type: "hello", token }, "own", () => {}),
    _silence: () => queue._silence(),
  });

  const isReady = (room: string | undefined): boolean =>
    isOnline() && (room === undefined || (rooms.get(room)?._isReady() ?? true));
  const maxFrame = (): number => connection._state().limits?.max_frame ?? 16_384;
  const queue = createQueue(connection._send, isReady, maxFrame, limit, timeout);
  const source = createSource<ChatState, ChatEvents>(connection._state);

  function add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    const { status, error } = connection._state();
    // A repeat after a lost reply has the same key, so that it has no second effect.
    const key = (command.type === "send" || command.type === "edit") && { key: random() };
    if (status === "closed") done(error);
    else queue._add({ ...key, ...command }, kind, done);
  }

  function setRooms(entries: [string, ChatRoom][]): void {
    rooms = new Map(entries);
    source._touch();
  }

  function join(name: string, options: JoinOptions = {}): Room {
    const normalized = roomName(name);
    let room = rooms.get(normalized);
    if (!room) {
      room = createRoom(chat, normalized, options);
      setRooms([...rooms, [normalized, room]]);
    }
    room._enter();
    return room;
  }

  function request<T extends CommandType>(command: Command<T>): Promise<Reply<T>> {
    return new Promise((resolve, reject) =>
      add(command, "timed", (error, reply) => (error ? reject(error) : resolve(reply as WireEvent & Reply<T>))),
    );
  }

  const own = {
    _window: window,
    _queue: queue,
    _add: add,
    _send: connection._send,
    _remove(room: ChatRoom) {
      setRooms([...rooms].filter(([, other]) => other !== room));
      // A `join` that is not answered yet makes a member too.
      const mayBeMember = isOnline() && !room.state.error;
      queue._reject(new ChatError("left"), room.name);
      if (mayBeMember) add({ type: "leave", room: room.name }, "own", () => {});
    },
    join,
    request,
    direct: async (user: string, options?: JoinOptions) =>
      join((await request({ type: "join", with: user })).room, options),
    reconnect: connection._reconnect,
    close: () => connection._end(new ChatError("closed")),
  };
  // `Object.assign` would copy the present values of these two.
  const chat: ChatCore = Object.defineProperties(Object.assign(source, own), {
    status: { get: () => connection._state().status },
    rooms: { get: () => rooms },
  }) as unknown as ChatCore;
  connection._reconnect();
  return chat;
}
