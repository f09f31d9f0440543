import type { ChatError } from "./error.js";
import type { PendingSend } from "./types.js";

/** The largest number of failed messages. */
const MAX_FAILED = 100;

/** The messages of this client that are not in the room's messages yet. */
export class Outbox {
  readonly #changed: () => void;
  readonly #messages = new Map<string, PendingSend>();
  /** The places of the messages that are stored. */
  readonly #places = new Map<string, number>();
  #snapshot: readonly PendingSend[] | undefined;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** The messages as an array that never changes. */
  get _all(): readonly PendingSend[] {
    return (this.#snapshot ??= [...this.#messages.values()]);
  }

  /** Adds a message, or replaces the one with the same key. */
  _add(message: PendingSend): void {
    this.#messages.set(message.key, message);
    this.#touch();
  }

  /** Marks a message as on its way. */
  _start(key: string): PendingSend | undefined {
    return this.#update(key, ({ error: _, ...message }) => ({ ...message, state: "sending" }));
  }

  /** Marks a message as stored at a place. It stays until the cursor is there. */
  _sent(key: string, seq: number, cursor = 0): void {
    this.#places.set(key, seq);
    this.#update(key, (message) => ({ ...message, state: "sent" }));
    this._advance(cursor);
  }

  /** Marks a message as failed. */
  _fail(key: string, error: ChatError): void {
    this.#update(key, (message) => ({ ...message, state: "failed", error }));
    const failed = this._all.filter(({ state }) => state === "failed");
    if (failed.length > MAX_FAILED) this._discard((failed[0] as PendingSend).key);
  }

  /** Removes a message. */
  _discard(key: string): void {
    this.#places.delete(key);
    if (this.#messages.delete(key)) this.#touch();
  }

  /** Removes the stored messages up to the cursor. */
  _advance(cursor: number): void {
    for (const [key, seq] of this.#places) if (seq <= cursor) this._discard(key);
  }

  /** Removes all stored messages: they belong to a log that is gone. */
  _forget(): void {
    this._advance(Infinity);
  }

  #update(key: string, change: (message: PendingSend) => PendingSend): PendingSend | undefined {
    const message = this.#messages.get(key);
    if (!message) return undefined;
    const next = change(message);
    this.#messages.set(key, next);
    this.#touch();
    return next;
  }

  #touch(): void {
    this.#snapshot = undefined;
    this.#changed();
  }
}
