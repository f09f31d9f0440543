import type { PendingSend } from "./types.js";

/** The messages of this client that are not in the room's messages yet. */
export interface Outbox {
  /** Returns the messages as an array that never changes. */
  _all(): readonly PendingSend[];
  /** Returns a message. */
  _get(key: string): PendingSend | undefined;
  /** Adds a message, or replaces the one with the same key. */
  _set(message: PendingSend): void;
  /** Changes a message, if it is still here. A stored one stays until the cursor is at its place. */
  _update(key: string, fields: Partial<PendingSend>): void;
  /** Removes a message. */
  _delete(key: string): void;
  /** Removes the stored messages up to the cursor. */
  _advance(cursor: number): void;
}

/** Creates an outbox. */
export function createOutbox(): Outbox {
  const messages = new Map<string, PendingSend>();
  let snapshot: readonly PendingSend[] | undefined;

  const all = (): readonly PendingSend[] => (snapshot ??= [...messages.values()]);
  const get = (key: string): PendingSend | undefined => messages.get(key);

  function set(message: PendingSend): void {
    messages.set(message.key, message);
    snapshot = undefined;
  }

  function remove(key: string): void {
    messages.delete(key);
    snapshot = undefined;
  }

  return {
    _all: all,
    _get: get,
    _set: set,
    _update(key, fields) {
      const message = get(key);
      if (message) set({ ...message, ...fields });
    },
    _delete: remove,
    _advance(cursor) {
      for (const { key, seq } of all()) if (seq && seq <= cursor) remove(key);
    },
  };
}
