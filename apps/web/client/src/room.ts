import type { ChatCore } from "./chat.js";
import { ChatError, promised } from "./error.js";
import { createMessages } from "./messages.js";
import { now, random } from "./names.js";
import { createOutbox } from "./outbox.js";
import { createPeople } from "./people.js";
import type { Kind } from "./queue.js";
import { createSource } from "./source.js";
import type { Command, JoinOptions, Page, Room, RoomEvents, RoomState, RoomStatus, SendOptions } from "./types.js";
import { countUnread } from "./unread.js";
import type { Body, CommandType, Cursor, Events, Mentions, Reply, WireEvent } from "./wire.js";

/** The largest number of messages on their way, and of failed ones. */
const MAX_PENDING = 500;

/** The pause before what could not be read is read again, in ms. */
const READ_AGAIN = 1000;

/** The wait for the first entry of a replay, before the client asks if the room has any message, in ms. */
const REPLAY_WAIT = 200;

/** The largest number of events that are kept for a page on its way. */
const MAX_LATE = 1000;

/** The time between two announcements that this user types, in ms. */
const TYPING_INTERVAL = 3000;

/** The time between two reports of what this user has read, in ms. */
const READ_INTERVAL = 1000;

/** The cursor before the first entry. */
const NOWHERE: Cursor = { epoch: "", seq: 0 };

type Late = Extract<WireEvent, { type: "changed" | "message" | "presence" | "purged" }>;
type Fields<T extends CommandType> = Omit<Command<T>, "type" | "room">;
type Done<T extends CommandType> = (error: ChatError | undefined, reply: Reply<T>) => void;

/**
 * The phase of a membership: without one, all entries are dropped until the reply to a `join`; `start` takes the next
 * entry wherever it is, and `live` takes the entry after the cursor.
 */
type Phase = "start" | "live" | undefined;

/** A room with what its chat needs of it. */
export interface ChatRoom extends Room {
  /** Returns true if the server can answer commands about the room. */
  _isReady(): boolean;
  /** Counts a user of the room. */
  _enter(): void;
  /** Joins the room on a new connection. */
  _resume(): void;
  /** Handles the loss of the connection. */
  _lost(): void;
  /** Tells the server at once what was read. */
  _report(): void;
  /** Handles an event that names the room. */
  _handle(event: WireEvent): void;
}

/** Creates a room: its cursor in the log, and the state that follows from the entries up to there. */
export function createRoom(chat: ChatCore, name: string, { last = 50, members = true }: JoinOptions): ChatRoom {
  const messages = createMessages(chat._window);
  const outbox = createOutbox();
  const people = createPeople(() => source._touch());
  let users = 0;
  /** The status unless everything up to the reply to `join` is here. */
  let status: RoomStatus = "joining";
  /** The reason why the server refused the room. */
  let refusal: ChatError | undefined;
  let phase: Phase;
  /** The epoch is empty before the first `joined`. */
  let cursor = NOWHERE;
  /** The newest `joined`, or nothing before the first one. */
  let joined = {} as Events["joined"];
  /** The end of the part of the log that was missed. What is held up to there must be read again. */
  let suspect = 0;
  /** The position up to which it was read again. */
  let rereadTo = 0;
  let isRereading = false;
  let olderPage: Promise<boolean> | undefined;
  /** The requests for pages on their way, and the events that arrived meanwhile: a page may not contain them. */
  let reads = 0;
  let late: Late[] = [];
  /** The number of times that messages were dropped or became suspect. A page that was asked before is not used. */
  let generation = 0;
  /** The newest entry that this user has read. */
  let marker = 0;
  /** The marker that the server has, or `Infinity` if it keeps none. */
  let stored = Infinity;
  /** The membership in which the server was last told of a marker, until the next one may be sent. */
  let report: object | undefined;
  let typedAt = 0;

  const me = (): string | undefined => chat.state.user?.id;

  const source = createSource<RoomState, RoomEvents>(() => ({
    name,
    status: phase && !suspect && cursor.seq >= joined.seq ? "live" : status,
    error: refusal,
    messages: messages._all(),
    more: messages._more,
    pending: outbox._all(),
    ...people._snapshot(me()),
    read: marker,
    ...countUnread(messages, marker, joined, me()),
    role: joined.role,
    may: joined.may,
    title: joined.title,
    with: joined.with,
    restricted: joined.restricted,
    pins: messages._pins(),
    cursor: cursor.epoch ? cursor : undefined,
  }));

  const room: ChatRoom = Object.assign(source, {
    name,
    send,
    retry,
    discard,
    edit,
    delete: remove,
    react,
    pin,
    read,
    older,
    history,
    search,
    typing,
    leave,
    _isReady: () => !!(phase ?? refusal),
    _enter: enter,
    _resume: resume,
    _lost: () => refusal || reset(),
    _report() {
      report = undefined;
      reportRead();
    },
    _handle: handle,
  });

  function send(body: string | Body, options: SendOptions = {}): Promise<Events["sent"]> {
    if (outbox._all().length >= MAX_PENDING) return Promise.reject(new ChatError("queue_full"));
    const key = options.key ?? random();
    outbox._set({ at: Date.now(), ...options, key, body: toBody(body), state: "sending" });
    typing(false);
    return retry(key);
  }

  function retry(key: string): Promise<Events["sent"]> {
    return promised((done) => {
      const message = outbox._get(key);
      if (!message) return done(new ChatError("no_message"));
      const { at: _, state: __, error: ___, ...fields } = message;
      outbox._update(key, { state: "sending", error: undefined });
      ask("ordered", "send", fields as Fields<"send">, (error, sent) => {
        outbox._update(key, error ? { state: "failed", error } : { state: "sent", seq: sent.seq });
        outbox._advance(cursor.seq);
        source._touch();
        done(error, sent);
      });
      source._touch();
    });
  }

  function discard(key: string): void {
    outbox._delete(key);
    source._touch();
  }

  function edit(
    seq: number,
    body: string | Body,
    options?: { mentions?: Mentions; rev?: number },
  ): Promise<Events["done"]> {
    return request("edit", { seq, body: toBody(body), ...options });
  }

  function remove(seq: number, reason?: string): Promise<Events["done"]> {
    return request("delete", { seq, reason } as Fields<"delete">);
  }

  function react(seq: number, reaction: string, on = true): Promise<Events["done"]> {
    return request("react", { seq, reaction: reaction.normalize("NFC"), on });
  }

  function pin(seq: number, on = true): Promise<Events["done"]> {
    return request("pin", { seq, on });
  }

  function read(seq = cursor.seq): void {
    const next = Math.min(seq, cursor.seq);
    if (next <= marker) return;
    marker = next;
    source._touch();
    reportRead();
  }

  /** Tells the server the newest marker. Only one report is on its way, so that it contains all before it. */
  function reportRead(): void {
    if (report || !phase || marker <= stored) return;
    const own = (report = {});
    const next = (): void => {
      // The reports of an earlier membership are of no concern to this one.
      if (report !== own) return;
      report = undefined;
      reportRead();
    };
    ask("own", "read", { seq: marker }, (error, reply) => {
      if (report === own) stored = error ? Infinity : Math.max(stored, reply.seq);
      setTimeout(next, READ_INTERVAL);
    });
  }

  function older(limit = 50): Promise<boolean> {
    olderPage ??= promised<boolean>((done) => {
      const load = (): void => {
        if (!messages._more || messages._all().length >= chat._window) return done(undefined, messages._more);
        const asked = generation;
        const before = messages._all()[0]?.seq ?? cursor.seq + 1;
        track("history", { before, limit }, (error, page) => {
          if (error) return done(error);
          if (asked !== generation) return load();
          messages._more = page.more;
          messages._add(page.messages);
          done(undefined, messages._more);
        });
      };
      load();
    }).finally(() => (olderPage = undefined));
    return olderPage;
  }

  function history(range: Fields<"history"> = {}): Promise<Page> {
    return request("history", range, "timed");
  }

  function search(query: string, range: { before?: number; limit?: number } = {}): Promise<Page> {
    return request("search", { query, ...range }, "timed");
  }

  function typing(active = true): void {
    const time = now();
    // At the beginning and after a stop, `typedAt` is 0.
    const isKnown = active ? typedAt && time - typedAt < TYPING_INTERVAL : !typedAt;
    if (isKnown || !phase) return;
    typedAt = active ? time : 0;
    chat._send(JSON.stringify({ type: "typing", room: name, active }));
  }

  function leave(): void {
    users--;
    // A component that is shown again at once keeps its room.
    setTimeout(() => {
      if (users > 0 || status === "left") return;
      chat._remove(room);
      end("left");
      people._clear();
    });
  }

  /** Counts a user of this room. */
  function enter(): void {
    if (!users++ && !phase) resume();
  }

  /** Joins the room on this connection: from the cursor on, or with the newest messages. */
  function resume(): void {
    if (chat.status !== "online") return;
    const after = cursor.epoch ? cursor : undefined;
    reset();
    const from = (after ? { after } : { last }) as Fields<"join">;
    ask("own", "join", from, (error, reply) => {
      if (!error) return handleJoined(reply, after);
      if (error.code === "bad_cursor" && after) {
        // The log has lost entries that this client has seen.
        cursor = NOWHERE;
        return resume();
      }
      refuse(error);
    });
  }

  function refuse(error: ChatError): void {
    end("refused", error);
    chat._queue._reject(error, name);
  }

  /** Ends the membership until the reply to the next `join`. */
  function reset(): void {
    // A replay without its first entry has no place yet: it is asked for again.
    if (phase === "start") cursor = NOWHERE;
    end(cursor.epoch ? "resuming" : "joining");
  }

  /** Handles an event that names this room. */
  function handle(event: WireEvent): void {
    if (!apply(event)) return;
    source._emit(event.type as keyof RoomEvents, event as never);
    source._touch();
  }

  /** Applies an event. Returns false if the room has no such event, or has handled it before. */
  function apply(event: WireEvent): boolean {
    const isMine = "user" in event && event.user.id === me();
    switch (event.type) {
      case "message":
        if (event.thread) keepLate(event);
        if (!advance(event.seq)) return false;
        messages._count(event);
        messages._add([event]);
        people._typing({ user: event.user, active: false });
        if (event.key && isMine) outbox._delete(event.key);
        break;
      case "changed":
      case "purged":
        keepLate(event);
        if (!advance(event.seq)) return false;
        messages._change(event);
        break;
      case "gap":
        // A `gap` is always of the epoch of `joined`.
        return advance(event.to, event.to);
      case "presence":
        keepLate(event);
        people._presence(event);
        break;
      case "occupancy":
        if (people._occupancy(event)) loadMembers();
        break;
      case "typing":
        people._typing(event);
        break;
      case "read":
        if (isMine) marker = Math.max(marker, event.seq);
        break;
      case "role":
      case "settings":
        if (!advance(event.seq)) return false;
        // The rights of this user may be others now. Those of a replay are known.
        if (event.seq > joined.seq && (isMine || event.type === "settings")) {
          ask("own", "join", {} as Fields<"join">, () => {});
        }
        break;
      case "joined":
        // The answer to a member has the title and the rights of this moment.
        joined = event;
        break;
      case "left":
        // Without a `ref`, the room does not allow this user any more.
        if (!event.ref) refuse(new ChatError("forbidden"));
        return false;
      default:
        // Later versions add entries. The cursor must move over those too.
        if (!event.ref && "seq" in event && "at" in event) advance(event.seq);
        return false;
    }
    return true;
  }

  function handleJoined(reply: Events["joined"], after: Cursor | undefined): void {
    const { epoch, seq, first } = reply;
    const isSameLog = after?.epoch === epoch;
    phase = "live";
    stored = reply.read ?? Infinity;
    marker = isSameLog ? Math.max(marker, reply.read ?? 0) : (reply.read ?? (after ? 0 : seq));
    if (!isSameLog) {
      // What is held belongs to another log. A new log is read from its beginning.
      const start = after ? 0 : Math.max(seq - last, first - 1);
      forget(start >= first);
      cursor = { epoch, seq: start };
      if (start < seq && !after) {
        phase = "start";
        setTimeout(findReplay, REPLAY_WAIT, cursor);
      }
      outbox._advance(Infinity);
      late = [];
    }
    messages._pin(reply.pins ?? []);
    people._joined(reply);
    if (after) source._emit("resumed", { room: name, after, seq, recovered: reply.recovered });
    if (reply.presence !== "count") loadMembers();
    readAgain();
    reportRead();
    chat._queue._pump();
  }

  /**
   * Moves the cursor to an entry, or to the end of a gap. Returns false if it was handled before. No server leaves a
   * hole without a `gap`. If one does, the log is read as after a `gap`.
   */
  function advance(seq: number, missed = seq - 1): boolean {
    if (!phase || (phase === "live" && seq <= cursor.seq)) return false;
    if (phase === "start" || missed > cursor.seq) miss(missed);
    phase = "live";
    cursor = { epoch: cursor.epoch, seq };
    outbox._advance(seq);
    source._touch();
    return true;
  }

  /** Handles that the entries up to `to` do not arrive. Among them may be changes of every message that is held. */
  function miss(to: number): void {
    const first = messages._all()[0]?.seq;
    if (!first || to - (messages._all().at(-1)?.seq ?? 0) > chat._window) return forget(to >= joined.first);
    generation++;
    suspect = to;
    status = "resuming";
    rereadTo = first - 1;
    readAgain();
  }

  function forget(more: boolean): void {
    generation++;
    suspect = 0;
    messages._clear(more);
  }

  /** Reads the next page of what is suspect. */
  function readAgain(): void {
    if (isRereading || !suspect || !phase) return;
    isRereading = true;
    const asked = generation;
    track("history", { after: rereadTo, limit: 200 }, (error, page) => {
      isRereading = false;
      if (error) return void setTimeout(readAgain, READ_AGAIN);
      // If more was missed meanwhile, all is read from the beginning.
      if (asked === generation) {
        const to = Math.min((page.more && page.messages.at(-1)?.seq) || Infinity, suspect);
        messages._replace(rereadTo, to, page.messages.filter((message) => message.seq <= to));
        rereadTo = to;
        if (to === suspect) suspect = 0;
      }
      readAgain();
    });
  }

  function loadMembers(): void {
    if (!members) return;
    track("members", { limit: 1000 }, (error, reply) => {
      if (!error) people._list(reply);
    });
  }

  /** Ends the wait for a replay that does not come, because the log has only entries that are no messages. */
  function findReplay(from: Cursor): void {
    const isWaiting = (): boolean => phase === "start" && cursor === from;
    if (!isWaiting()) return;
    track("history", { limit: 1 }, (error, page) => {
      if (!error && !page.messages[0] && isWaiting()) advance(joined.seq, 0);
    });
  }

  /** Reads something that a later event may change: such an event is applied again after the reply. */
  function track<T extends CommandType>(type: T, fields: Fields<T>, done: Done<T>): void {
    reads++;
    ask("timed", type, fields, (error, reply) => {
      done(error, reply);
      for (const event of late) {
        if (event.type === "message") messages._count(event);
        else if (event.type !== "presence") messages._change(event);
        else if (type === "members") people._presence(event);
      }
      if (!--reads) late = [];
      source._touch();
    });
  }

  function keepLate(event: Late): void {
    if (reads && late.push(event) > MAX_LATE) {
      late = [];
      miss(cursor.seq);
    }
  }

  function ask<T extends CommandType>(kind: Kind, type: T, fields: Fields<T>, done: Done<T>): void {
    const command = { type, room: name, ...fields } as unknown as Command<T>;
    if (refusal) done(refusal, undefined as never);
    else chat._add(command, kind, done as never);
  }

  function request<T extends CommandType>(type: T, fields: Fields<T>, kind: Kind = "ordered"): Promise<Reply<T>> {
    return promised((done) => ask(kind, type, fields, done));
  }

  function end(to: RoomStatus, error?: ChatError): void {
    status = to;
    refusal = error;
    phase = undefined;
    typedAt = 0;
    report = undefined;
    source._touch();
  }

  return room;
}

const toBody = (body: string | Body): Body => (typeof body === "string" ? { text: body } : body);
