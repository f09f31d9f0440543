import type { ChatCore } from "./chat.js";
import { ChatError } from "./error.js";
import { now } from "./names.js";
import { advised, backoff } from "./retry.js";
import type { Command } from "./types.js";
import type { CommandType, WireEvent } from "./wire.js";

/** The bytes of the largest command, before the server has said it. */
const MAX_FRAME = 16_384;

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
  /** A command of the client itself. Those of one room are sent one after the other. It ends with the connection. */
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

/** The commands that wait to be sent or to be answered, in order. They survive the loss of a connection. */
export interface Queue {
  /** Returns the time since which the server has answered no command, in ms, or 0 if no command is in flight. */
  _silence(): number;
  /** Adds a command. */
  _add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void;
  /** Sends the commands whose time has come. */
  _pump(): void;
  /** Handles an event, which may be the reply to a command. */
  _handle(event: WireEvent): void;
  /** Handles the loss of the connection: what was sent must be sent again. */
  _lost(): void;
  /** Ends the commands of a room, or all. */
  _reject(error: ChatError, room?: string): void;
}

/**
 * Creates a queue.
 *
 * @param limit The largest number of commands, without those of the client itself.
 * @param timeout The longest wait for the reply to a `timed` command, in ms.
 */
export function createQueue(chat: ChatCore, limit: number, timeout: number): Queue {
  const waiting = new Map<string, Waiting>();
  /** The commands that the server does not know. */
  const unknown = new Set<CommandType>();
  let refs = 0;
  let inFlight = 0;
  let progressAt = 0;
  let window = MAX_IN_FLIGHT;
  let pauseUntil = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function add<T extends CommandType>(command: Command<T>, kind: Kind, done: Done): void {
    const ref = `${++refs}`;
    const frame = JSON.stringify({ ...command, ref });
    const refusal =
      unknown.has(command.type) ? "unknown_type"
      : kind !== "own" && waiting.size >= limit ? "queue_full"
      : new Blob([frame]).size > (chat.state.limits?.max_frame ?? MAX_FRAME) ? "too_long"
      : undefined;
    if (refusal) return done(new ChatError(refusal));
    waiting.set(ref, {
      _command: command,
      _frame: frame,
      _kind: kind,
      _done: done,
      _timer: kind === "timed" ? setTimeout(() => end([ref], new ChatError("timeout")), timeout) : undefined,
      _attempts: 0,
      _sent: false,
      _notBefore: 0,
    });
    pump();
  }

  function pump(): void {
    clearTimeout(timer);
    const time = now();
    const busy = new Set<string>();
    let next = Infinity;
    for (const command of waiting.values()) {
      const { _kind: kind, _command: { room } } = command;
      // These commands keep their order in a room, also if the server refuses one of them for now.
      const line = kind + room;
      if (kind !== "timed" && busy.has(line)) continue;
      busy.add(line);
      // The commands of the client itself make a room ready, or end it.
      if (command._sent || !chat._isReady(kind === "own" ? undefined : room)) continue;
      const wait = Math.max(command._notBefore, pauseUntil) - time;
      if (wait > 0) next = Math.min(next, wait);
      else if (inFlight < window) {
        command._sent = true;
        if (!inFlight++) progressAt = time;
        chat._send(command._frame);
      }
    }
    if (next < Infinity) timer = setTimeout(pump, next);
  }

  function handle(event: WireEvent): void {
    const { ref = "" } = event;
    const command = waiting.get(ref);
    const isEarly = event.type === "error" && event.code === "rate_limited";
    if (isEarly) {
      // Fewer commands are sent at once.
      window = 1;
      pauseUntil = now() + Math.min(event.retry_after_ms ?? 0, MAX_PAUSE);
    }
    if (!command?._sent) return;
    progressAt = now();
    if (event.type !== "error") {
      window = Math.min(window + 1, MAX_IN_FLIGHT);
      return end([ref], undefined, event);
    }
    const { code, message, detail, retry_after_ms: retryAfter = 0 } = event;
    if (code === "unknown_type") unknown.add(command._command.type);
    const isTemporary = isEarly || code === "unavailable";
    if (isTemporary && (command._kind === "own" || command._attempts < MAX_ATTEMPTS)) {
      const wait = retryAfter || backoff(command._attempts++, 250, 2000);
      command._notBefore = now() + Math.min(wait, MAX_WAIT);
      command._sent = false;
      inFlight--;
      return pump();
    }
    end([ref], new ChatError(code, message, { detail, retryAfter: advised(retryAfter) }));
  }

  /** Ends commands. Others are sent only when all of these are gone, because these are not worth sending any more. */
  function end(refs: string[], error: ChatError | undefined, event?: WireEvent): void {
    const ended = refs.map((ref) => {
      const command = waiting.get(ref) as Waiting;
      if (command._sent) inFlight--;
      clearTimeout(command._timer);
      waiting.delete(ref);
      return command;
    });
    for (const { _done } of ended) _done(error, event);
    pump();
  }

  return {
    _silence: () => inFlight && now() - progressAt,
    _add: add,
    _pump: pump,
    _handle: handle,
    _lost() {
      inFlight = 0;
      unknown.clear();
      for (const [ref, command] of waiting) {
        command._sent = false;
        if (command._kind === "own") waiting.delete(ref);
      }
    },
    _reject(error, room) {
      end([...waiting.keys()].filter((ref) => !room || waiting.get(ref)?._command.room === room), error);
    },
  };
}
