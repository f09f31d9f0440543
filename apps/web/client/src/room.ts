import type { ChatClient } from "./chat.js";
import { ChatError } from "./error.js";
import { Messages } from "./messages.js";
import { now, random } from "./names.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import type { Kind } from "./queue.js";
import { Source } from "./source.js";
import type { Command, JoinOptions, Page, Room, RoomEvents, RoomState, RoomStatus, SendOptions } from "./types.js";
import type { Body, CommandType, Cursor, Events, Mentions, Reply, Role, WireEvent } from "./wire.js";

/** The largest number of messages on their way, and of failed ones. */
const MAX_PENDING = 500;

/** The pause before what could not be read is read again, in ms. */
const READ_AGAIN = 1000;

/** The largest number of events that are kept for a page on its way. */
const MAX_LATE = 1000;

/** The time between two announcements that this user types, in ms. */
const TYPING_INTERVAL = 3000;

/** The number from which unread messages are not counted any more. */
const MAX_UNREAD = 100;

type Entry = Extract<WireEvent, { type: "message" | "changed" }>;
type Late = Extract<WireEvent, { type: "changed" | "presence" }>;
type Fields<T extends CommandType> = Omit<Command<T>, "type" | "room">;
type Done<T extends CommandType> = (error: ChatError | undefined, reply: Reply<T>) => void;

/**
 * The phase of a membership: `away` drops all entries until the reply to a `join`, `start` takes the next entry
 * wherever it is, and `live` takes the entry after the cursor.
 */
type Phase = "away" | "start" | "live";

/** A room: its cursor in the log, and the state that follows from the entries up to there. */
export class ChatRoom extends Source<RoomState, RoomEvents> implements Room {
  readonly name: string;
  readonly #chat: ChatClient;
  readonly #options: JoinOptions;
  readonly #messages: Messages;
  readonly #people = new People(() => this._touch());
  readonly #outbox = new Outbox();
  #users = 0;
  #status: RoomStatus = "joining";
  #error: ChatError | undefined;
  #phase: Phase = "away";
  /** The epoch is empty before the first `joined`. */
  #cursor: Cursor = { epoch: "", seq: 0 };
  #joined: Events["joined"] | undefined;
  /** The end of the part of the log that was missed. What is held up to there must be read again. */
  #suspect = 0;
  /** The position up to which it was read again. */
  #reread = 0;
  #isRereading = false;
  #older: Promise<boolean> | undefined;
  /** The requests for pages on their way, and the events that arrived meanwhile: a page may not contain them. */
  #reads = 0;
  #late: Late[] = [];
  /** The number of times that messages were dropped or became suspect. A page that was asked before is not used. */
  #generation = 0;
  #read = 0;
  #typedAt = 0;
  #role: Role | undefined;
  #pins: readonly number[] = [];

  constructor(chat: ChatClient, name: string, options: JoinOptions) {
    super();
    this.#chat = chat;
    this.name = name;
    this.#options = options;
    this.#messages = new Messages(chat._window);
  }

  /** True if this connection is a member of the room. */
  get _isJoined(): boolean {
    return this.#phase !== "away";
  }

  /** True if the server can answer commands about this room. */
  get _isReady(): boolean {
    return this._isJoined || this.#status === "refused";
  }

  get #me(): string | undefined {
    return this.#chat.state.user?.id;
  }

  get #last(): number {
    return this.#options.last ?? 50;
  }

  protected override _build(): RoomState {
    return {
      name: this.name,
      status: this.#status,
      error: this.#error,
      messages: this.#messages._all,
      more: this.#messages._more,
      pending: this.#outbox._all,
      ...this.#people._snapshot(this.#me),
      read: this.#read,
      ...this.#unread(),
      role: this.#role,
      may: this.#joined?.may,
      pins: this.#pins,
      cursor: this.#cursor.epoch ? this.#cursor : undefined,
    };
  }

  send(body: string | Body, options: SendOptions = {}): Promise<Events["sent"]> {
    if (this.#outbox._all.length >= MAX_PENDING) return Promise.reject(new ChatError("queue_full"));
    const key = options.key ?? random();
    this.#outbox._set({ at: Date.now(), ...options, key, body: toBody(body), state: "sending" });
    this.typing(false);
    return this.retry(key);
  }

  retry(key: string): Promise<Events["sent"]> {
    return new Promise((resolve, reject) => {
      const message = this.#outbox._get(key);
      if (!message) return reject(new ChatError("no_message"));
      const { at: _, state: __, error: ___, ...fields } = message;
      this.#outbox._set({ ...message, state: "sending", error: undefined });
      this.#ask("ordered", "send", fields as Fields<"send">, (error, sent) => {
        if (error) {
          this.#outbox._fail(key, error);
          reject(error);
        } else {
          this.#outbox._sent(key, sent.seq);
          this.#outbox._advance(this.#cursor.seq);
          resolve(sent);
        }
        this._touch();
      });
      this._touch();
    });
  }

  discard(key: string): void {
    this.#outbox._delete(key);
    this._touch();
  }

  edit(seq: number, body: string | Body, options?: { mentions?: Mentions; rev?: number }): Promise<Events["done"]> {
    return this.#request("edit", { seq, body: toBody(body), ...options });
  }

  delete(seq: number, reason?: string): Promise<Events["done"]> {
    return this.#request("delete", { seq, reason } as Fields<"delete">);
  }

  react(seq: number, reaction: string, on = true): Promise<Events["done"]> {
    return this.#request("react", { seq, reaction: reaction.normalize("NFC"), on });
  }

  pin(seq: number, on = true): Promise<Events["done"]> {
    return this.#request("pin", { seq, on });
  }

  async read(seq = this.#cursor.seq): Promise<void> {
    if (seq <= this.#read) return;
    this.#read = seq;
    this._touch();
    await this.#request("read", { seq });
  }

  older(limit = 50): Promise<boolean> {
    this.#older ??= new Promise<boolean>((resolve, reject) => {
      const messages = this.#messages;
      const load = (): void => {
        if (!messages._more || messages._full) return resolve(messages._more);
        const generation = this.#generation;
        const before = messages._first ?? this.#cursor.seq + 1;
        this.#track("history", { before, limit }, (error, page) => {
          if (error) return reject(error);
          if (generation !== this.#generation) return load();
          messages._more = page.more;
          messages._add(page.messages);
          resolve(messages._more);
        });
      };
      load();
    }).finally(() => (this.#older = undefined));
    return this.#older;
  }

  history(range: Fields<"history"> = {}): Promise<Page> {
    return this.#request("history", range, "timed");
  }

  search(query: string, range: { before?: number; limit?: number } = {}): Promise<Page> {
    return this.#request("search", { query, ...range }, "timed");
  }

  typing(active = true): void {
    const time = now();
    // At the beginning and after a stop, `typedAt` is 0.
    const isKnown = active ? this.#typedAt && time - this.#typedAt < TYPING_INTERVAL : !this.#typedAt;
    if (isKnown || !this._isJoined) return;
    this.#typedAt = active ? time : 0;
    this.#chat._send(JSON.stringify({ type: "typing", room: this.name, active }));
  }

  leave(): void {
    this.#users--;
    // A component that is shown again at once keeps its room.
    setTimeout(() => {
      if (this.#users > 0 || this.#status === "left") return;
      this.#chat._remove(this);
      this.#end("left");
      this.#people._clear();
    });
  }

  /** Counts a user of this room. */
  _enter(): void {
    if (!this.#users++ && !this._isJoined) this._resume();
  }

  /** Joins the room on this connection: from the cursor on, or with the newest messages. */
  _resume(): void {
    if (!this.#chat._isOnline) return;
    const after = this.#cursor.epoch ? this.#cursor : undefined;
    this.#end(after ? "resuming" : "joining");
    const from = (after ? { after } : { last: this.#last }) as Fields<"join">;
    this.#ask("own", "join", from, (error, joined) => {
      if (!error) return this.#handleJoined(joined, after);
      if (error.code === "bad_cursor" && after) {
        // The log has lost entries that this client has seen.
        this.#cursor = { epoch: "", seq: 0 };
        return this._resume();
      }
      this.#end("refused", error);
      this.#chat._queue._reject(error, this.name);
    });
  }

  /** Handles the loss of the connection. */
  _lost(): void {
    this.#end(this.#status === "live" ? "resuming" : this.#status, this.#error);
  }

  /** Handles an event that names this room. */
  _handle(event: WireEvent): void {
    switch (event.type) {
      case "message":
      case "changed":
        return this.#handleEntry(event);
      case "gap":
        return this.#handleGap(event);
      case "presence":
        this.#keepLate(event);
        this.#people._presence(event);
        break;
      case "occupancy":
        if (this.#people._occupancy(event)) this.#loadMembers();
        break;
      case "typing":
        this.#people._typing(event);
        break;
      case "read":
        if (event.user.id === this.#me) this.#read = Math.max(this.#read, event.seq);
        break;
      case "role":
        if (event.user.id === this.#me) this.#role = event.role;
        break;
      default:
        // Later versions add entries. The cursor must move over those too.
        if (!event.ref && "seq" in event && "at" in event) this.#advance(event.seq);
        return;
    }
    this._emit(event.type, event as never);
    this._touch();
  }

  #handleJoined(joined: Events["joined"], after: Cursor | undefined): void {
    const { epoch, seq, first } = joined;
    const isSameLog = after?.epoch === epoch;
    this.#joined = joined;
    this.#phase = "live";
    this.#read = joined.read ?? (isSameLog ? this.#read : after ? 0 : seq);
    this.#role = joined.role;
    this.#pins = joined.pins ?? this.#pins;
    if (!isSameLog) {
      // What is held belongs to another log. A new log is read from its beginning.
      const start = after ? 0 : Math.max(seq - this.#last, first - 1);
      if (start < seq && !after) this.#phase = "start";
      this.#forget(start >= first);
      this.#cursor = { epoch, seq: start };
      this.#outbox._advance(Infinity);
    }
    this.#people._joined(joined);
    this.#settle();
    this._emit("joined", joined);
    if (after) this._emit("resumed", { room: this.name, after, seq, recovered: joined.recovered });
    this.#loadMembers();
    this.#readAgain();
    this.#chat._queue._pump();
  }

  #handleEntry(entry: Entry): void {
    if (entry.type === "changed") this.#keepLate(entry);
    if (!this.#advance(entry.seq)) return;
    if (entry.type === "message") {
      this.#messages._append(entry);
      this.#people._typing({ user: entry.user, active: false });
      if (entry.key !== undefined && entry.user.id === this.#me) this.#outbox._delete(entry.key);
    } else {
      const { what, target } = entry;
      this.#messages._change(entry);
      if (what === "pinned" || what === "deleted") {
        const others = this.#pins.filter((pin) => pin !== target);
        this.#pins = what === "pinned" && entry.pinned ? [...others, target] : others;
      }
    }
    this._emit(entry.type, entry as never);
  }

  /** Moves the cursor to an entry. Returns false if the entry was handled before. */
  #advance(seq: number): boolean {
    const cursor = this.#cursor;
    if (!this._isJoined) return false;
    if (this.#phase === "live" && seq !== cursor.seq + 1) {
      if (seq <= cursor.seq) return false;
      // No server leaves a hole without a `gap`. If one does, the log is read as after a `gap`.
      this.#miss(seq - 1);
    }
    this.#move(seq);
    return true;
  }

  #handleGap(gap: Extract<WireEvent, { type: "gap" }>): void {
    // A `gap` is always of the epoch of `joined`.
    if (!this._isJoined || (this.#phase === "live" && gap.to <= this.#cursor.seq)) return;
    this.#miss(gap.to);
    this.#move(gap.to);
    this._emit("gap", gap);
  }

  #move(seq: number): void {
    this.#phase = "live";
    this.#cursor = { epoch: this.#cursor.epoch, seq };
    this.#outbox._advance(seq);
    this.#settle();
  }

  /** Handles that the entries up to `to` do not arrive. Among them may be changes of every message that is held. */
  #miss(to: number): void {
    const { _all, _first, _limit } = this.#messages;
    if (!_first || to - (_all.at(-1)?.seq ?? 0) > _limit) return this.#forget(to >= (this.#joined?.first ?? 0));
    this.#generation++;
    this.#suspect = to;
    this.#reread = _first - 1;
    this.#readAgain();
  }

  #forget(more: boolean): void {
    this.#generation++;
    this.#suspect = 0;
    this.#messages._clear(more);
  }

  /** Reads the next page of what is suspect. */
  #readAgain(): void {
    if (this.#isRereading || !this.#suspect || !this._isJoined) return;
    this.#isRereading = true;
    const generation = this.#generation;
    this.#track("history", { after: this.#reread, limit: 200 }, (error, page) => {
      this.#isRereading = false;
      if (error) {
        setTimeout(() => this.#readAgain(), READ_AGAIN);
        return;
      }
      // If more was missed meanwhile, all is read from the beginning.
      if (generation === this.#generation) {
        const end = (page.more && page.messages.at(-1)?.seq) || Infinity;
        const to = Math.min(end, this.#suspect);
        this.#messages._replace(this.#reread, to, page.messages.filter((message) => message.seq <= to));
        this.#reread = to;
        if (to === this.#suspect) this.#suspect = 0;
      }
      this.#readAgain();
      this.#settle();
    });
  }

  #loadMembers(): void {
    if (this.#options.members === false || this.#people._mode === "count") return;
    this.#track("members", { limit: 1000 }, (error, reply) => {
      if (!error) this.#people._list(reply);
    });
  }

  /** Reads something that a later event may change: such an event is applied again after the reply. */
  #track<T extends CommandType>(type: T, fields: Fields<T>, done: Done<T>): void {
    this.#reads++;
    this.#ask("timed", type, fields, (error, reply) => {
      done(error, reply);
      for (const event of this.#late) {
        if (event.type === "changed") this.#messages._change(event);
        else this.#people._presence(event);
      }
      if (!--this.#reads) this.#late = [];
      this._touch();
    });
  }

  #keepLate(event: Late): void {
    if (this.#reads && this.#late.push(event) > MAX_LATE) {
      this.#late = [];
      this.#miss(this.#cursor.seq);
    }
  }

  #ask<T extends CommandType>(kind: Kind, type: T, fields: Fields<T>, done: Done<T>): void {
    const command = { type, room: this.name, ...fields } as unknown as Command<T>;
    if (this.#error && kind !== "own") done(this.#error, undefined as never);
    else this.#chat._add(command, kind, done as never);
  }

  #request<T extends CommandType>(type: T, fields: Fields<T>, kind: Kind = "ordered"): Promise<Reply<T>> {
    return new Promise((resolve, reject) =>
      this.#ask(kind, type, fields, (error, reply) => (error ? reject(error) : resolve(reply))),
    );
  }

  #end(status: RoomStatus, error?: ChatError): void {
    this.#status = status;
    this.#error = error;
    this.#phase = "away";
    this.#typedAt = 0;
    this._touch();
  }

  /** Becomes live when everything up to the reply to `join` is here. */
  #settle(): void {
    const isBehind = this.#suspect || this.#cursor.seq < (this.#joined?.seq ?? 0);
    if (this._isJoined && !isBehind) this.#status = "live";
    this._touch(this.#status !== "live");
  }

  /** Counts the unread messages: those that are held, and what the server counted before them. */
  #unread(): { unread: number; mentions: number } {
    const me = this.#me ?? "";
    const { _first = Infinity, _more, _all } = this.#messages;
    const joined = this.#joined;
    // Unread messages that are not held can only be known from the server's count at the same marker.
    const useCount = _more && _first > this.#read + 1 && joined?.read === this.#read;
    let [unread, mentions] = useCount ? [joined.unread ?? 0, joined.mentions ?? 0] : [0, 0];
    const after = useCount ? joined.seq : this.#read;
    for (const { seq, user, deleted, mentions: mentioned } of _all) {
      if (seq <= after || deleted || user.id === me) continue;
      unread++;
      if (mentioned === "@room" || mentioned?.includes(me)) mentions++;
    }
    return { unread: Math.min(unread, MAX_UNREAD), mentions: Math.min(mentions, MAX_UNREAD) };
  }
}

const toBody = (body: string | Body): Body => (typeof body === "string" ? { text: body } : body);
