import type { Store } from "./types.js";

/** Calls a listener at once. Its failure is reported as an unhandled rejection, and does not disturb the caller. */
const call = async <T>(listener: (value: T) => void, value: T): Promise<void> => listener(value);

/** A store of snapshots that also emits the events `E`. */
export interface Source<S, E> extends Store<S> {
  /** Listens to an event. Returns a function that ends this. */
  on<T extends keyof E>(type: T, listener: (event: E[T]) => void): () => void;
  /** Calls the listeners of an event. */
  _emit<T extends keyof E>(type: T, event: E[T]): void;
  /** Makes the snapshot stale, and calls the subscribers once for all changes up to then. */
  _touch(): void;
}

/** Creates a store whose snapshot is built when it is needed. */
export function createSource<S, E>(build: () => S): Source<S, E> {
  const listeners = new Set<() => void>();
  const handlers = new Map<keyof E, Set<(event: never) => void>>();
  let snapshot: S;
  let isStale = true;
  let isScheduled = false;

  const flush = (): void => {
    isScheduled = false;
    for (const listener of listeners) listener();
  };

  const source: Source<S, E> = {
    get state() {
      if (isStale) snapshot = build();
      isStale = false;
      return snapshot;
    },

    subscribe(listener) {
      const entry = (): void => void call(listener, source.state);
      listeners.add(entry);
      entry();
      return () => listeners.delete(entry);
    },

    on(type, listener) {
      const entries = handlers.get(type) ?? new Set();
      const entry = (event: never): void => listener(event);
      handlers.set(type, entries.add(entry));
      return () => entries.delete(entry);
    },

    _emit(type, event) {
      for (const listener of handlers.get(type) ?? []) void call(listener, event as never);
    },

    _touch() {
      isStale = true;
      if (isScheduled) return;
      isScheduled = true;
      queueMicrotask(flush);
    },
  };
  return source;
}
