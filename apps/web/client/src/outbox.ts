import type { PendingSend } from "./types.js";

/** The messages of this client that are not in the room's messages yet. */
export class Outbox {
  readonly #messages = new Map<string, PendingSend>();
  #snapshot: readonly PendingSend[] | undefined;

  /** The messages as an array that never changes. */
  get _all(): readonly PendingSend[] {
    return (this.#snapshot ??= [...this.#messages.values()]);
  }

  /** Returns a message. */
  _get(key: string): PendingSend | undefined {
    return this.#messages.get(key);
  }

  /** Adds a message, or replaces the one with the same key. */
  _set(message: PendingSend): void {
    this.#messages.set(message.key, message);
    this.#snapshot = undefined;
  }

  /** Changes a message, if it is still here. A stored one stays until the cursor is at its place. */
  _update(key: string, fields: Partial<PendingSend>): void {
    const message = this._get(key);
    if (message) this._set({ ...message, ...fields });
  }

  /** Removes a message. */
  _delete(key: string): void {
    this.#messages.delete(key);
    this.#snapshot = undefined;
  }

  /** Removes the stored messages up to the cursor. */
  _advance(cursor: number): void {
    for (const { key, seq } of this._all) if (seq && seq <= cursor) this._delete(key);
  }
}
