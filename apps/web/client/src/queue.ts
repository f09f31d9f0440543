import { ChatError } from "./error.js";
import { now } from "./names.js";
import { advised, backoff } from "./retry.js";
import type { Command } from "./types.js";
import type { CommandType, Events, WireEvent } from "./wire.js";

/** The largest number of commands in flight. */
const MAX_IN_FLIGHT = 16;

/** The number of attempts for a command that the server refuses for now. */
const MAX_ATTEMPTS = 10;

/** The longest pause of all commands after one came too early, in ms. */
const MAX_PAUSE = 1000;

/** The longest wait before a command is sent again, in ms. */
const MAX_WAIT = 60_000;

/** Called once with the reply to a command, or with the reason why there is none. */
export type Done = (error: ChatError | undefined, reply?: WireEvent) => void;

/** The kind of a command, which decides how it waits. */
export type Kind =
  /** It waits while offline. Those of one room are sent one after the other. */
  | "ordered"
  /** It is rejected if no reply comes in time. */
  | "timed"
  /** A command of the client itself. It ends with the connection. */
  | "own";

interface Waiting {
  readonly _command: { readonly type: CommandType; readonly room?: string };
  readonly _frame: string;
  readonly _kind: Kind;
  readonly _done: Done;
  readonly _timer: ReturnType<typeof setTimeout> | undefined;
  _attempts: number;
  _sent: boolean;
  _notBefore: number;
}

/** What a queue needs to know about the connection. */
export interface Line {
  /** Sends a frame. */
  _send(frame: string): void;
  /** Returns true if the server can take the commands of a room, or those without one. */
  _isReady(room: string | undefined): boolean;
}

/** The commands that wait to be sent or to be answered, in order. They survive the loss of a connection. */
export class Queue {
  /** Bytes of the largest command. */
  _maxFrame = 16_384;
  readonly #line: Line;
  readonly #limit: number;
  readonly #timeout: number;
  readonly #waiting = new Map<string, Waiting>();
  readonly #unknown = new Set<CommandType>();
  #next = 1;
  #inFlight = 0;
  #progress = 0;
  #window = MAX_IN_FLIGHT;
  #pause = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(line: Line, limit: number, timeout: number) {
    this.#line = line;
    this.#limit = limit;
    this.#timeout = timeout;
  }

  /** The time since which the server has answered no command, in ms, or 0 if no command is in flight. */
  get _silence(): number {
    return this.#inFlight && now() - this.#progress;
  }

  /** Adds a command. */
  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    const { type } = command;
    const ref = `${this.#next++}`;
    const frame = JSON.stringify({ ...command, ref });
    const refuse =
      this.#unknown.has(type) ? "unknown_type"
      : kind !== "own" && this.#waiting.size >= this.#limit ? "queue_full"
      : new TextEncoder().encode(frame).length > this._maxFrame ? "too_long"
      : undefined;
    if (refuse) return done(new ChatError(refuse));
    const timer = kind === "timed" ? setTimeout(() => this.#end(ref, new ChatError("timeout")), this.#timeout) : undefined;
    this.#waiting.set(ref, {
      _command: command,
      _frame: frame,
      _kind: kind,
      _done: done,
      _timer: timer,
      _attempts: 0,
      _sent: false,
      _notBefore: 0,
    });
    this._pump();
  }

  /** Sends the commands whose time has come. */
  _pump(): void {
    clearTimeout(this.#timer);
    const time = now();
    const lanes = new Set<string | undefined>();
    let next = Infinity;
    for (const command of this.#waiting.values()) {
      const { type, room } = command._command;
      if (command._kind === "ordered") {
        // The ordered commands of a room keep their order, also if the server refuses one of them for now.
        if (lanes.has(room)) continue;
        lanes.add(room);
      }
      if (command._sent || !this.#line._isReady(type === "join" ? undefined : room)) continue;
      const wait = Math.max(command._notBefore, this.#pause) - time;
      if (wait > 0) next = Math.min(next, wait);
      else if (this.#inFlight < this.#window) {
        command._sent = true;
        if (!this.#inFlight++) this.#progress = time;
        this.#line._send(command._frame);
      }
    }
    if (next < Infinity) this.#timer = setTimeout(() => this._pump(), next);
  }

  /** Handles a reply. */
  _reply(ref: string, event: WireEvent): void {
    const command = this.#waiting.get(ref);
    if (!command?._sent) return;
    this.#progress = now();
    if (event.type !== "error") {
      this.#window = Math.min(this.#window + 1, MAX_IN_FLIGHT);
      return this.#end(ref, undefined, event);
    }
    const { code, message, detail, retry_after_ms: retryAfter = 0 } = event;
    if (code === "unknown_type") this.#unknown.add(command._command.type);
    const isTemporary = this._refused(event) || code === "unavailable";
    if (isTemporary && (command._kind === "own" || command._attempts < MAX_ATTEMPTS)) {
      const wait = retryAfter || backoff(command._attempts++, 250, 2000);
      command._notBefore = now() + Math.min(wait, MAX_WAIT);
      command._sent = false;
      this.#inFlight--;
      return this._pump();
    }
    this.#end(ref, new ChatError(code, message, { detail, retryAfter: advised(retryAfter) }));
  }

  /** Returns true if an error says that a command came too early. Then fewer commands are sent at once. */
  _refused({ code, retry_after_ms: wait = 0 }: Events["error"]): boolean {
    if (code !== "rate_limited") return false;
    this.#window = 1;
    this.#pause = now() + Math.min(wait, MAX_PAUSE);
    return true;
  }

  /** Handles the loss of the connection: what was sent must be sent again. */
  _lost(): void {
    this.#inFlight = 0;
    this.#unknown.clear();
    for (const [ref, command] of this.#waiting) {
      command._sent = false;
      if (command._kind === "own") this.#waiting.delete(ref);
    }
  }

  /** Ends the commands of a room, or all. */
  _reject(error: ChatError, room?: string): void {
    for (const [ref, command] of this.#waiting) if (!room || command._command.room === room) this.#end(ref, error);
  }

  #end(ref: string, error: ChatError | undefined, reply?: WireEvent): void {
    const command = this.#waiting.get(ref);
    if (!command) return;
    if (command._sent) this.#inFlight--;
    clearTimeout(command._timer);
    this.#waiting.delete(ref);
    command._done(error, reply);
    this._pump();
  }
}
