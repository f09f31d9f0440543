/**
 * The commands and events of `chat.v1`, as PROTOCOL.md describes them. Types only: this file adds no code.
 *
 * @module
 */

/** A user. */
export interface User {
  /** The identifier, unique on the server. */
  readonly id: string;
  /** The name to show. It is not unique. */
  readonly name: string;
}

/** The body of a message: `{ text }`, or what the host service defines. */
export interface Body {
  /** The text of a standard message. */
  readonly text?: string;
  readonly [field: string]: unknown;
}

/** A place in the log of a room. */
export interface Cursor {
  /** The identifier of the log's contents. Positions of different epochs cannot be compared. */
  readonly epoch: string;
  /** The position of an entry. */
  readonly seq: number;
}

/** The users that a message mentions: their identifiers, or all users of the room. */
export type Mentions = readonly string[] | "@room";

/** One reaction to a message. */
export interface Reaction {
  /** The emoji or the word. */
  readonly reaction: string;
  /** The number of users. */
  readonly count: number;
  /** The first 10 of these users, or fewer if the names are long. */
  readonly users: readonly User[];
  /** The number of users who placed it before the newest edit of the message. */
  readonly stale?: number;
}

/** The record of a deletion. */
export interface Deletion {
  /** The time, in ms since the Unix epoch. */
  readonly at: number;
  /** The user who deleted the message. */
  readonly by: User;
  /** The reason that this user gave. */
  readonly reason?: string;
}

/** A message in its current state. */
export interface Message {
  readonly type?: "message";
  readonly room?: string;
  /** The position of the message in its log. */
  readonly seq: number;
  /** The user who wrote the message. */
  readonly user: User;
  /** The time of the commit, in ms since the Unix epoch, by the server's clock. */
  readonly at: number;
  /** The idempotency key. */
  readonly key?: string;
  /** The body, absent if the message is deleted. */
  readonly body?: Body;
  /** The newest entry that this state contains. Absent means `seq`: the message never changed. */
  readonly rev?: number;
  /** The message that this one answers. */
  readonly reply_to?: number;
  /** The first message of the thread. */
  readonly thread?: number;
  /** The users that the message mentions. */
  readonly mentions?: Mentions;
  /** The newest edit. `by` is absent if the author made it. */
  readonly edited?: { readonly at: number; readonly by?: User };
  /** The deletion. A deleted message has no `body`. */
  readonly deleted?: Deletion;
  /** The reactions. */
  readonly reactions?: readonly Reaction[];
  /** The messages in the thread that starts here. */
  readonly replies?: { readonly count: number; readonly last: number };
  /** True if the message is pinned. */
  readonly pinned?: boolean;
}

/** The way in which a room announces its users: each of them, or only their number. */
export type PresenceMode = "each" | "count";

/** The role of a user in a room. */
export type Role = "none" | "member" | "moderator" | "owner";

/** A restriction of a user in a room. */
export interface Restriction {
  /** The kind of the restriction. */
  readonly what: "mute" | "ban";
  /** The end, in ms since the Unix epoch. Absent means that it has no end. */
  readonly until?: number;
}

/** The limits that the server announces. */
export interface Limits {
  /** Bytes of one command. */
  readonly max_frame: number;
  /** Rooms of one connection. */
  readonly max_rooms: number;
  /** Bytes of a body. */
  readonly max_body: number;
  /** Messages in one page of history. */
  readonly max_page: number;
}

/** A room in the list of rooms. */
export interface RoomSummary {
  readonly room: string;
  readonly title?: string;
  /** The other user of a direct room. */
  readonly with?: User;
  /** The newest entry. */
  readonly seq: number;
  /** The marker of this user: the newest entry that was read. */
  readonly read: number;
  /** The messages after the marker: exact below 100, then 100. */
  readonly unread: number;
  /** The messages among these that mention this user. */
  readonly mentions: number;
  /** The newest message. */
  readonly last?: Message;
}

interface InRoom {
  readonly room: string;
}

interface Changed extends InRoom {
  readonly seq: number;
  readonly at: number;
  readonly by: User;
  readonly target: number;
}

/** The events of the server, by their `type`. */
export interface Events {
  welcome: {
    readonly connection: string;
    readonly user: User;
    readonly limits: Limits;
    readonly ping_interval: number;
    readonly expires_at?: number;
  };
  joined: InRoom & {
    readonly epoch: string;
    readonly seq: number;
    readonly first: number;
    readonly recovered: boolean;
    readonly members: number;
    readonly presence: PresenceMode;
    readonly role?: Role;
    readonly may?: readonly string[];
    readonly read?: number;
    readonly unread?: number;
    readonly mentions?: number;
    readonly pins?: readonly number[];
    /** The other user of a direct room. */
    readonly with?: User;
    /** The title of the room. */
    readonly title?: string;
    /** The restriction of this user. */
    readonly restricted?: Restriction;
  };
  left: InRoom;
  message: InRoom & Message;
  changed:
    | (Changed & { readonly what: "edited"; readonly body: Body; readonly mentions?: Mentions })
    | (Changed & { readonly what: "deleted"; readonly reason?: string })
    | (Changed & { readonly what: "reactions"; readonly reactions: readonly Reaction[] })
    | (Changed & { readonly what: "pinned"; readonly pinned: boolean })
    | (Changed & { readonly what: "superseded" });
  sent: InRoom & { readonly seq: number; readonly at: number; readonly duplicate?: boolean };
  done: InRoom & { readonly seq?: number; readonly duplicate?: boolean };
  history: InRoom & { readonly epoch: string; readonly messages: readonly Message[]; readonly more: boolean };
  found: InRoom & { readonly messages: readonly Message[]; readonly more: boolean };
  members: InRoom & { readonly members: readonly User[]; readonly more: boolean; readonly total: number };
  presence: InRoom & { readonly user: User; readonly state: "joined" | "left" };
  occupancy: InRoom & { readonly members: number; readonly presence?: PresenceMode };
  typing: InRoom & { readonly user: User; readonly active: boolean };
  read: InRoom & { readonly user: User; readonly seq: number };
  role: InRoom & {
    readonly seq: number;
    readonly at: number;
    readonly by: User;
    readonly user: User;
    readonly role: Role;
    readonly restricted?: Restriction;
    readonly reason?: string;
  };
  settings: InRoom & {
    readonly seq: number;
    readonly at: number;
    readonly by: User;
    readonly created?: boolean;
    readonly join: "open" | "members";
    readonly post?: "members" | "moderators";
    readonly title?: string;
    readonly receipts?: boolean;
    /** The users of a direct room. */
    readonly direct?: readonly User[];
  };
  purged: InRoom & {
    readonly seq: number;
    readonly at: number;
    readonly by: User;
    readonly user: User;
    readonly from: number;
    readonly to: number;
    readonly unpinned?: readonly number[];
  };
  rooms: { readonly rooms: readonly RoomSummary[]; readonly more: boolean };
  activity: InRoom & {
    readonly seq: number;
    readonly unread: number;
    readonly mentions: number;
    /** The other user of a direct room. */
    readonly with?: User;
  };
  expiring: { readonly at: number };
  gap: InRoom & { readonly epoch: string; readonly from: number; readonly to: number };
  pong: object;
  closing: { readonly code: number; readonly reason: string; readonly reconnect_in_ms?: number };
  error: {
    readonly code: string;
    readonly message: string;
    readonly retry_after_ms?: number;
    readonly room?: string;
    readonly detail?: unknown;
  };
}

/** An entry that changes messages. A purge has no `what`, and deletes. */
export type MessageChange =
  | (Events["changed"] & { readonly unpinned?: undefined })
  | (Events["purged"] & { readonly what?: undefined; readonly reason?: undefined });

/** The name of an event. */
export type EventType = keyof Events;

/** An event of the server with its `type`, and with the `ref` of the command that it answers. */
export type WireEvent = {
  [T in EventType]: { readonly type: T; readonly ref?: string } & Events[T];
}[EventType];

/** The fields of each command, and the event that answers it. */
export interface Commands {
  join: {
    fields:
      | (InRoom & { readonly after?: Cursor; readonly last?: number })
      | { readonly with: string; readonly after?: Cursor; readonly last?: number };
    reply: "joined";
  };
  leave: { fields: InRoom; reply: "left" };
  send: {
    fields: InRoom & {
      readonly body: Body;
      readonly key?: string;
      readonly reply_to?: number;
      readonly thread?: number;
      readonly mentions?: Mentions;
    };
    reply: "sent";
  };
  edit: {
    fields: InRoom & {
      readonly seq: number;
      readonly body: Body;
      readonly mentions?: Mentions;
      readonly rev?: number;
      readonly key?: string;
    };
    reply: "done";
  };
  delete: { fields: InRoom & { readonly seq: number; readonly reason?: string }; reply: "done" };
  react: {
    fields: InRoom & {
      readonly seq: number;
      readonly reaction: string;
      readonly on: boolean;
      readonly rev?: number;
    };
    reply: "done";
  };
  pin: { fields: InRoom & { readonly seq: number; readonly on: boolean }; reply: "done" };
  read: { fields: InRoom & { readonly seq: number }; reply: "read" };
  history: {
    fields: InRoom & {
      readonly before?: number;
      readonly after?: number;
      readonly seqs?: readonly number[];
      readonly thread?: number;
      readonly limit?: number;
    };
    reply: "history";
  };
  members: { fields: InRoom & { readonly after?: User; readonly limit?: number }; reply: "members" };
  search: {
    fields: InRoom & { readonly query: string; readonly limit?: number; readonly before?: number };
    reply: "found";
  };
  ping: { fields: object; reply: "pong" };
  hello: { fields: { readonly token: string }; reply: "welcome" };
  create: {
    fields: InRoom & {
      readonly join?: "open" | "members";
      readonly post?: "members" | "moderators";
      readonly title?: string;
      readonly receipts?: boolean;
    };
    reply: "done";
  };
  role: { fields: InRoom & { readonly user: string; readonly role: Role }; reply: "done" };
  restrict: {
    fields: InRoom & {
      readonly user: string;
      readonly what: "mute" | "ban" | "none";
      readonly until?: number;
      readonly reason?: string;
    };
    reply: "done";
  };
  purge: { fields: InRoom & { readonly user: string }; reply: "done" };
  follow: { fields: InRoom & { readonly on: boolean }; reply: "done" };
  rooms: { fields: { readonly after?: string; readonly limit?: number }; reply: "rooms" };
}

/** The name of a command that has a reply. */
export type CommandType = keyof Commands;

/** The event that answers a command. */
export type Reply<T extends CommandType> = Events[Commands[T]["reply"]];
