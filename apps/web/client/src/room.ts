import type { ChatClient } from "./chat.js";
import { ChatError } from "./error.js";
import { Messages } from "./messages.js";
import { random } from "./names.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import type { Kind } from "./queue.js";
import { Source } from "./source.js";
import type { Command, JoinOptions, Page, Room, RoomEvents, RoomState, RoomStatus, SendOptions } from "./types.js";
import type { Body, CommandType, Cursor, Events, Mentions, Message, Reply, WireEvent } from "./wire.js";

/** The pause before what could not be read is read again, in ms. */
const READ_AGAIN = 1000;

/** The largest number of entries that are kept for a page on its way. */
const MAX_LATE = 1000;

/** The time between two announcements that this user types, in ms. */
const TYPING_INTERVAL = 3000;

/** The number from which unread messages are not counted any more. */
const MAX_UNREAD = 100;

type Entry = Extract<WireEvent, { type: "message" | "changed" }>;
type Late = Extract<WireEvent, { type: "changed" | "presence" }>;

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
  readonly #outbox = new Outbox(() => this._touch());
  #users = 0;
  #status: RoomStatus = "joining";
  #error: ChatError | undefined;
  #phase: Phase = "away";
  #cursor: Cursor | undefined;
  #joined: Events["joined"] | undefined;
  /** The position at which a hole that no `gap` announced was asked for. It is not asked for twice. */
  #holeAsked = -1;
  /** The end of the part of the log that was missed. What is held up to there must be read again. */
  #suspect = 0;
  #rereading = false;
  #older: Promise<boolean> | undefined;
  /** The requests for pages on their way, and the changes that arrived meanwhile: a page may not contain them. */
  #reads = 0;
  #late: Late[] = [];
  /** The number of times that the messages were dropped or became suspect. A page from before is not used. */
  #generation = 0;
  #read = 0;
  #typedAt = -Infinity;
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

  protected override _build(previous: RoomState | undefined): RoomState {
    const joined = this.#joined;
    const { members, typing } = this.#people._snapshot(this.#chat.state.user?.id);
    return {
      name: this.name,
      status: this.#status,
      ...(this.#error && { error: this.#error }),
      messages: this.#messages._all,
      more: this.#messages._more,
      pending: this.#outbox._all,
      members,
      count: this.#people._count,
      presence: this.#people._mode,
      typing,
      read: this.#read,
      ...this.#unread(),
      ...(joined?.role && { role: joined.role }),
      ...(joined?.may && { may: joined.may }),
      pins: this.#pins,
      ...(this.#cursor && { cursor: keep(previous?.cursor, this.#cursor) }),
    };
  }

  send(body: string | Body, options: SendOptions = {}): Promise<Events["sent"]> {
    const key = options.key ?? random();
    this.#outbox._add({ at: Date.now(), ...options, key, body: toBody(body), state: "sending" });
    this.typing(false);
    return this.retry(key);
  }

  retry(key: string): Promise<Events["sent"]> {
    const message = this.#outbox._start(key);
    if (!message) return Promise.reject(new ChatError("no_message"));
    const { at: _, state: __, error: ___, ...fields } = message;
    return new Promise((resolve, reject) => {
      this.#write({ type: "send", room: this.name, ...fields }, (error, sent) => {
        if (error) this.#outbox._fail(key, error);
        else this.#outbox._sent(key, (sent as Events["sent"]).seq, this.#cursor?.seq);
        if (error) reject(error);
        else resolve(sent as Events["sent"]);
      });
    });
  }

  discard(key: string): void {
    this.#outbox._discard(key);
  }

  edit(seq: number, body: string | Body, options: { mentions?: Mentions; rev?: number } = {}): Promise<Events["done"]> {
    return this.#request({ type: "edit", room: this.name, seq, body: toBody(body), ...options });
  }

  delete(seq: number, reason?: string): Promise<Events["done"]> {
    return this.#request({ type: "delete", room: this.name, seq, ...(reason !== undefined && { reason }) });
  }

  react(seq: number, reaction: string, on = true): Promise<Events["done"]> {
    return this.#request({ type: "react", room: this.name, seq, reaction: reaction.normalize("NFC"), on });
  }

  pin(seq: number, on = true): Promise<Events["done"]> {
    return this.#request({ type: "pin", room: this.name, seq, on });
  }

  async read(seq = this.#cursor?.seq ?? 0): Promise<void> {
    if (seq <= this.#read) return;
    this.#mark(seq);
    await this.#request({ type: "read", room: this.name, seq });
  }

  older(limit = 50): Promise<boolean> {
    return (this.#older ??= this.#loadOlder(limit).finally(() => (this.#older = undefined)));
  }

  async history(range: Omit<Command<"history">, "type" | "room"> = {}): Promise<Page> {
    return toPage(await this.#request({ type: "history", room: this.name, ...range }));
  }

  async search(query: string, range: { before?: number; limit?: number } = {}): Promise<Page> {
    return toPage(await this.#request({ type: "search", room: this.name, query, ...range }));
  }

  typing(active = true): void {
    const now = performance.now();
    if (active ? now - this.#typedAt < TYPING_INTERVAL : this.#typedAt < 0) return;
    this.#typedAt = active ? now : -Infinity;
    if (this._isJoined) this.#chat._send(JSON.stringify({ type: "typing", room: this.name, active }));
  }

  leave(): void {
    if (--this.#users > 0) return;
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
    this.#users++;
    if (this.#users === 1 && !this._isJoined && this.#status !== "resuming") this._resume();
  }

  /** Joins the room on this connection: from the cursor on, or with the newest messages. */
  _resume(): void {
    if (!this.#chat._isOnline || this.#status === "left") return;
    const after = this.#cursor;
    const from = after ? { after } : { last: this.#options.last ?? 50 };
    this.#end(after ? "resuming" : "joining");
    this.#chat._add({ type: "join", room: this.name, ...from }, "own", (error, reply) => {
      if (!error) return this.#handleJoined(reply as Events["joined"], after);
      if (error.code === "bad_cursor" && after) {
        // The log has lost entries that this client has seen.
        this.#cursor = undefined;
        return this._resume();
      }
      this.#end("refused", error);
      this.#chat._refuse(this.name, error);
    });
  }

  /** Handles the loss of the connection. */
  _lost(): void {
    if (this.#status === "live") this.#status = "resuming";
    this.#phase = "away";
    this.#typedAt = -Infinity;
    this._touch();
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
        if (event.user.id === this.#chat.state.user?.id) this.#mark(event.seq);
        break;
      case "role":
        if (event.user.id === this.#chat.state.user?.id && this.#joined) {
          this.#joined = { ...this.#joined, role: event.role };
        }
        break;
      default:
        // Later versions add entries. The cursor must move over those too.
        if (!event.ref && "seq" in event && "at" in event) this.#advance(event);
        return;
    }
    this._emit(event.type, event as never);
    this._touch();
  }

  #handleJoined(joined: Events["joined"], after: Cursor | undefined): void {
    const { epoch, seq, first } = joined;
    this.#joined = joined;
    if (after?.epoch === epoch) {
      this.#phase = "live";
    } else {
      // Without a cursor in this epoch, what is held belongs to another log.
      const start = after ? 0 : Math.max(seq - (this.#options.last ?? 50), first - 1);
      this.#forget(start >= first);
      this.#cursor = { epoch, seq: start };
      this.#holeAsked = -1;
      this.#suspect = 0;
      this.#outbox._forget();
      this.#phase = after || start === seq ? "live" : "start";
    }
    this.#read = Math.max(joined.read ?? (after?.epoch === epoch ? this.#read : after ? 0 : seq), 0);
    if (joined.pins) this.#pins = joined.pins;
    this.#people._joined(joined);
    this.#settle();
    this._emit("joined", joined);
    if (after) this._emit("resumed", { room: this.name, after, seq, recovered: joined.recovered });
    this.#loadMembers();
    this.#reread();
    this.#chat._pump();
  }

  #handleEntry(entry: Entry): void {
    if (entry.type === "changed") this.#keepLate(entry);
    if (!this.#advance(entry)) return;
    if (entry.type === "changed") {
      this.#messages._change(entry);
      if (entry.what === "pinned" || entry.what === "deleted") {
        const others = this.#pins.filter((pin) => pin !== entry.target);
        this.#pins = entry.what === "pinned" && entry.pinned ? [...others, entry.target] : others;
      }
    } else {
      this.#messages._append(toMessage(entry));
      this.#people._typing({ user: entry.user, active: false });
      if (entry.key !== undefined && entry.user.id === this.#chat.state.user?.id) this.#outbox._discard(entry.key);
    }
    this._emit(entry.type, entry as never);
  }

  /** Moves the cursor to an entry. Returns false if the entry was handled before, or will arrive again. */
  #advance({ seq }: { seq: number }): boolean {
    const cursor = this.#cursor;
    if (!cursor || this.#phase === "away") return false;
    if (this.#phase === "live" && seq !== cursor.seq + 1) {
      if (seq <= cursor.seq) return false;
      if (this.#holeAsked !== cursor.seq) {
        this.#holeAsked = cursor.seq;
        this._resume();
        return false;
      }
      this.#miss(seq - 1);
    }
    this.#phase = "live";
    this.#move(cursor.epoch, seq);
    return true;
  }

  #handleGap(gap: Extract<WireEvent, { type: "gap" }>): void {
    const cursor = this.#cursor;
    if (!cursor || this.#phase === "away") return;
    if (gap.epoch !== cursor.epoch) this.#forget(true);
    else if (this.#phase === "live" && gap.to <= cursor.seq) return;
    this.#phase = "live";
    this.#miss(gap.to);
    this.#move(gap.epoch, gap.to);
    this._emit("gap", gap);
  }

  #move(epoch: string, seq: number): void {
    this.#cursor = { epoch, seq };
    this.#outbox._advance(seq);
    this.#settle();
  }

  /** Handles that the entries up to `to` do not arrive. Among them may be changes of every message that is held. */
  #miss(to: number): void {
    const last = this.#messages._last;
    if (last === undefined || to - last > this.#messages._limit) {
      this.#forget(to >= (this.#joined?.first ?? 0));
    } else {
      this.#generation++;
      this.#suspect = to;
      this.#reread();
    }
  }

  #forget(more: boolean): void {
    this.#generation++;
    this.#suspect = 0;
    this.#messages._clear(more);
  }

  /** Reads the messages up to the end of a gap again. */
  #reread(): void {
    const { epoch } = this.#cursor ?? {};
    if (this.#rereading || !this.#suspect || !this._isJoined) return;
    this.#rereading = true;
    const end = (error?: ChatError): void => {
      this.#rereading = false;
      if (error) setTimeout(() => this.#reread(), READ_AGAIN);
      else if (this.#suspect) this.#reread();
      this.#settle();
    };
    const step = (after: number, generation: number): void =>
      this.#page({ after, limit: 200 }, (error, page) => {
        if (error) return end(error);
        // The present part of the log is read, from the beginning if it was missed again.
        if (generation !== this.#generation || page.epoch !== epoch) return end();
        const to = page.more ? (page.messages.at(-1)?.seq ?? this.#suspect) : this.#suspect;
        const { messages } = toPage(page);
        this.#messages._replace(after, to, messages.filter((message) => message.seq <= to));
        if (to < this.#suspect) return step(to, generation);
        this.#suspect = 0;
        end();
      });
    step((this.#messages._first ?? 1) - 1, this.#generation);
  }

  async #loadOlder(limit: number): Promise<boolean> {
    for (;;) {
      const before = this.#messages._first ?? (this.#cursor?.seq ?? 0) + 1;
      const generation = this.#generation;
      const page = await new Promise<Reply<"history"> | undefined>((resolve, reject) => {
        if (!this.#messages._more || this.#messages._full) return resolve(undefined);
        this.#page({ before, limit }, (error, reply) => {
          if (error) return reject(error);
          const isPresent = generation === this.#generation && this.#cursor?.epoch === reply.epoch;
          if (!isPresent || (this.#messages._first ?? before) !== before) return resolve(reply);
          this.#messages._add(toPage(reply).messages);
          this.#messages._more = reply.more;
          resolve(undefined);
        });
      });
      if (!page) return this.#messages._more;
    }
  }

  /** Reads a page of the log. Changes that arrive before it are applied to it. */
  #page(range: Omit<Command<"history">, "type" | "room">, done: (error: ChatError | undefined, page: Reply<"history">) => void): void {
    this.#track({ type: "history", room: this.name, ...range }, done);
  }

  #loadMembers(): void {
    if (this.#options.members === false || this.#people._mode === "count") return;
    this.#track({ type: "members", room: this.name, limit: 1000 }, (error, reply: Reply<"members">) => {
      if (!error) this.#people._list(reply);
    });
  }

  #track<T extends CommandType>(command: Command<T>, done: (error: ChatError | undefined, reply: Reply<T>) => void): void {
    this.#reads++;
    this.#chat._add(command, "read", (error, reply) => {
      done(error, reply as WireEvent & Reply<T>);
      for (const event of this.#late) {
        if (event.type === "changed") this.#messages._change(event);
        else this.#people._presence(event);
      }
      if (--this.#reads === 0) this.#late = [];
      this._touch();
    });
  }

  #keepLate(event: Late): void {
    if (!this.#reads) return;
    this.#late.push(event);
    if (this.#late.length > MAX_LATE) {
      this.#late = [];
      this.#miss(this.#cursor?.seq ?? 0);
    }
  }

  #request<T extends CommandType>(command: Command<T>): Promise<Reply<T>> {
    return this.#error ? Promise.reject(this.#error) : this.#chat.request(command);
  }

  #write(command: Command<"send">, done: (error: ChatError | undefined, reply?: WireEvent) => void): void {
    const kind: Kind = "write";
    if (this.#error) done(this.#error);
    else this.#chat._add(command, kind, done);
  }

  #mark(seq: number): void {
    this.#read = Math.max(this.#read, seq);
    this._touch();
  }

  #end(status: RoomStatus, error?: ChatError): void {
    this.#status = status;
    this.#error = error;
    this.#phase = "away";
    this._touch();
  }

  /** Becomes live when everything up to the reply to `join` is here. */
  #settle(): void {
    if (this._isJoined && !this.#suspect && (this.#cursor?.seq ?? 0) >= (this.#joined?.seq ?? 0)) this.#status = "live";
    this._touch(this.#status !== "live");
  }

  /** Counts the unread messages: those that are held, and what the server counted before them. */
  #unread(): { unread: number; mentions: number } {
    const me = this.#chat.state.user?.id ?? "";
    const first = this.#messages._first ?? Infinity;
    const isComplete = !this.#messages._more || first <= this.#read + 1;
    const { seq: counted = 0, unread: base = 0, mentions: mentioned = 0, read = -1 } = this.#joined ?? {};
    const useBase = !isComplete && read === this.#read;
    let [unread, mentions] = useBase ? [base, mentioned] : [0, 0];
    const messages = this.#messages._all;
    for (let index = messages.length - 1; index >= 0 && unread < MAX_UNREAD; index--) {
      const message = messages[index] as Message;
      if (message.seq <= (useBase ? counted : this.#read)) break;
      if (message.deleted || message.user.id === me) continue;
      unread++;
      if (message.mentions === "@room" || message.mentions?.includes(me)) mentions++;
    }
    return { unread: Math.min(unread, MAX_UNREAD), mentions: Math.min(mentions, MAX_UNREAD) };
  }
}

const toBody = (body: string | Body): Body => (typeof body === "string" ? { text: body } : body);

/** Takes the message out of its event, which a page also has. */
function toMessage(event: Message): Message {
  const { type: _, room: __, ...message } = event as Message & { type?: string; room?: string };
  return message;
}

/** Takes the page out of a reply. */
const toPage = ({ messages, more }: Page): Page => ({ messages: messages.map(toMessage), more });

/** Returns the previous cursor if the new one is equal. */
const keep = (previous: Cursor | undefined, cursor: Cursor): Cursor =>
  previous?.seq === cursor.seq && previous.epoch === cursor.epoch ? previous : cursor;
