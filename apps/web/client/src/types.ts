/**
 * The public interface of the client. Types only: this file adds no code.
 *
 * @module
 */

import type { ChatError } from "./error.js";
import type {
  Body,
  CommandType,
  Commands,
  Cursor,
  Events,
  EventType,
  Limits,
  Mentions,
  Message,
  PresenceMode,
  Reply,
  Restriction,
  Role,
  User,
} from "./wire.js";

/** A token, or a function that returns the newest one. */
export type Token = string | (() => string | Promise<string>);

/** The part of the standard `WebSocket` class that the client uses. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocket;

/** The settings of a connection. */
export interface ConnectOptions {
  /**
   * The token. A function is called before each attempt to connect and when the token is about to expire. Without
   * a token the user is a guest.
   */
  readonly token?: Token;
  /** The name of the guest. Without one, the client makes a random name and keeps it when it reconnects. */
  readonly name?: string;
  /** The class to use instead of the global `WebSocket`. */
  readonly WebSocket?: WebSocketClass;
  /** The largest number of messages that each room holds. Default 2,000. */
  readonly window?: number;
  /** The largest number of commands that wait for the server. Default 200. */
  readonly queue?: number;
  /**
   * The longest wait for an answer, in ms: of an attempt to connect, of a ping, and of a command that reads. Default
   * 10,000.
   */
  readonly timeout?: number;
}

/** The settings of a room. They count for the first `join` of the room. */
export interface JoinOptions {
  /** The number of newest messages to load at first. Default 50. */
  readonly last?: number;
  /** False to keep no list of the users in the room. Default true. */
  readonly members?: boolean;
}

/** The settings of a new message. */
export interface SendOptions {
  /** The idempotency key. By default, the client makes a random one. */
  readonly key?: string;
  /** The message that this one answers. */
  readonly reply_to?: number;
  /** The first message of the thread. */
  readonly thread?: number;
  /** The users to mention. */
  readonly mentions?: Mentions;
}

/** The state of the connection. */
export type ChatStatus =
  /** An attempt to connect is in progress. */
  | "connecting"
  /** Connected: the server answers. */
  | "online"
  /** Disconnected. The next attempt starts at `retryAt`. */
  | "waiting"
  /** Ended, by `close()` or by a reason that no further attempt can correct. */
  | "closed";

/** The state of a chat: an immutable snapshot. */
export interface ChatState {
  readonly status: ChatStatus;
  /** The user of this connection, known after the first connection. */
  readonly user?: User | undefined;
  /** The limits of the server, known after the first connection. */
  readonly limits?: Limits | undefined;
  /** The reason why the connection was lost last, until the next one. If `closed`, the reason for that. */
  readonly error?: ChatError | undefined;
  /** The time of the next attempt, in ms since the Unix epoch, while `waiting`. */
  readonly retryAt?: number | undefined;
}

/** The state of a membership. */
export type RoomStatus =
  /** The server was not asked yet, or has not answered. */
  | "joining"
  /** Complete: everything up to the present is here, and new entries arrive. */
  | "live"
  /** Behind: the connection was lost, or missed entries are on their way. */
  | "resuming"
  /** The server refused the room. `error` has the reason. */
  | "refused"
  /** Left. The state does not change any more. */
  | "left";

/** A message that this client has sent or will send, and that is not among `messages` yet. */
export interface PendingSend {
  /** The idempotency key. */
  readonly key: string;
  readonly body: Body;
  /** The time at which the user wrote the message, in ms since the Unix epoch, by the clock of this machine. */
  readonly at: number;
  readonly reply_to?: number | undefined;
  readonly thread?: number | undefined;
  readonly mentions?: Mentions | undefined;
  /** The place of a stored message. */
  readonly seq?: number | undefined;
  /** `sending`: not stored yet, also while offline. `sent`: stored. `failed`: see `error`, and `room.retry(key)`. */
  readonly state: "sending" | "sent" | "failed";
  /** The reason of `failed`. */
  readonly error?: ChatError | undefined;
}

/** The state of a room: an immutable snapshot. Parts that did not change are the same objects as before. */
export interface RoomState {
  /** The normalised name. */
  readonly name: string;
  readonly status: RoomStatus;
  /** The reason of `refused`. */
  readonly error?: ChatError | undefined;
  /** The messages, oldest first, each in its current state. Deleted messages stay, without `body`. */
  readonly messages: readonly Message[];
  /** True if the log has older messages than those in `messages`. See `room.older()`. */
  readonly more: boolean;
  /** The messages of this client on their way to the server, oldest first. */
  readonly pending: readonly PendingSend[];
  /** The users in the room, sorted by name. Empty while the room only counts its users. */
  readonly members: readonly User[];
  /** The number of users in the room. */
  readonly count: number;
  /** The way in which the room announces its users. */
  readonly presence: PresenceMode;
  /** The other users who are typing. */
  readonly typing: readonly User[];
  /** The newest entry that this user has read. */
  readonly read: number;
  /** The messages of others after `read`: exact below 100, then 100. */
  readonly unread: number;
  /** The messages among these that mention this user. */
  readonly mentions: number;
  /** The role of this user, if the server has roles. */
  readonly role?: Role | undefined;
  /** The commands that this user may use here, if the server names them. */
  readonly may?: readonly string[] | undefined;
  /** The title of the room, if its rules have one. */
  readonly title?: string | undefined;
  /** The other user of a direct room. */
  readonly with?: User | undefined;
  /** The restriction of this user. One with an end may be over. */
  readonly restricted?: Restriction | undefined;
  /** The pinned messages, by `seq`, also those that are not among `messages`. */
  readonly pins: readonly number[];
  /** The position in the log up to which this state is complete. */
  readonly cursor?: Cursor | undefined;
}

/** A source of immutable snapshots. It fits `useSyncExternalStore` of React, and is a store of Svelte. */
export interface Store<S> {
  /** The current snapshot. */
  readonly state: S;
  /**
   * Calls `listener` at once and after each change. Changes that happen together cause one call.
   *
   * @returns A function that ends the calls.
   */
  readonly subscribe: (listener: (state: S) => void) => () => void;
}

/** The result of a page of messages. */
export interface Page {
  readonly messages: readonly Message[];
  /** True if there are more messages in the direction of the request. */
  readonly more: boolean;
}

/** The resumption of a room on a new connection. */
export interface Resumed {
  readonly room: string;
  /** The cursor that the client sent. */
  readonly after: Cursor;
  /** The newest entry of the log at that time. */
  readonly seq: number;
  /** True if all entries after the cursor follow. */
  readonly recovered: boolean;
}

/** The events of a room that `room.on` can listen to. Entries arrive in order and once. */
export interface RoomEvents
  extends Pick<
    Events,
    | "message"
    | "changed"
    | "purged"
    | "gap"
    | "presence"
    | "occupancy"
    | "typing"
    | "read"
    | "role"
    | "settings"
    | "joined"
  > {
  resumed: Resumed;
}

/** A command for `chat.request`. */
export type Command<T extends CommandType> = { readonly type: T } & Commands[T]["fields"];

/** A room that the client is a member of. */
export interface Room extends Store<RoomState> {
  /** The normalised name. */
  readonly name: string;

  /**
   * Sends a message: a text, or a body of the host service. While offline, the message waits, and is sent once.
   *
   * @returns The place of the message, when the server has stored it.
   */
  send(body: string | Body, options?: SendOptions): Promise<Events["sent"]>;
  /** Sends a failed message again, with the same key. */
  retry(key: string): Promise<Events["sent"]>;
  /** Removes a failed message from `state.pending`. */
  discard(key: string): void;

  /** Replaces the body of a message. With `rev`, only if no other change came first. */
  edit(
    seq: number,
    body: string | Body,
    options?: { readonly mentions?: Mentions; readonly rev?: number },
  ): Promise<Events["done"]>;
  /** Deletes the body of a message. */
  delete(seq: number, reason?: string): Promise<Events["done"]>;
  /** Adds a reaction of this user to a message, or removes it. */
  react(seq: number, reaction: string, on?: boolean): Promise<Events["done"]>;
  /** Pins a message, or removes the pin. */
  pin(seq: number, on?: boolean): Promise<Events["done"]>;
  /**
   * Marks the entries up to `seq` as read, as far as they have arrived. Default: all. The state changes at once, and
   * the server is told the newest position about once per second, also after a loss of the connection.
   */
  read(seq?: number): void;

  /**
   * Loads a page of older messages into `state.messages`. Calls while a page is on its way share that page.
   *
   * @returns True if there are still older messages.
   */
  older(limit?: number): Promise<boolean>;
  /** Reads messages without a change of the state: around a message, of a thread, or by their `seq`. */
  history(range?: {
    readonly before?: number;
    readonly after?: number;
    readonly seqs?: readonly number[];
    readonly thread?: number;
    readonly limit?: number;
  }): Promise<Page>;
  /** Finds the messages that contain every word of `query`, newest first. */
  search(query: string, range?: { readonly before?: number; readonly limit?: number }): Promise<Page>;
  /** Announces that this user types, at most every 3 s. Call it for each change of the text. */
  typing(active?: boolean): void;

  /** Listens to events. Returns a function that ends this. */
  on<T extends keyof RoomEvents>(type: T, listener: (event: RoomEvents[T]) => void): () => void;
  /** Ends the membership, when this was called once for each `chat.join` of the room. */
  leave(): void;
}

/** The events that `chat.on` can listen to: all events of the server, and all replies. */
export type ChatEvents = { [T in EventType]: Events[T] & { readonly type: T } };

/** A connection to a chat server that survives losses of the network. */
export interface Chat extends Store<ChatState> {
  /** The state of the connection: `state.status`. */
  readonly status: ChatStatus;
  /** The rooms of this client, by their normalised names. The map is replaced by each change. */
  readonly rooms: ReadonlyMap<string, Room>;

  /** Becomes a member of a room. The room is usable at once; see `room.state.status`. */
  join(name: string, options?: JoinOptions): Room;
  /** Becomes a member of the room of this user and another one. */
  direct(user: string, options?: JoinOptions): Promise<Room>;
  /**
   * Sends any command of the protocol. It is rejected if the server refuses or does not know it, and if no reply comes
   * in time, for example while offline.
   */
  request<T extends CommandType>(command: Command<T>): Promise<Reply<T>>;
  /** Listens to events of the server. Returns a function that ends this. */
  on<T extends keyof ChatEvents>(type: T, listener: (event: ChatEvents[T]) => void): () => void;
  /** Ends the present connection, if there is one, and connects again at once. */
  reconnect(): void;
  /** Ends the chat. Waiting commands are rejected. */
  close(): void;
}
