import type { Store } from "./types.js";

/** A store of snapshots that also emits the events `E`. */
export interface Source<S, E> extends Store<S> {
  /** Listens to an event. Returns a function that ends this. */
  on<T extends keyof E>(type: T, listener: (event: E[T]) => void): () => void;
  /** Calls the listeners of an event. */
  _emit<T extends keyof E>(type: T, event: E[T]): void;
  /** Makes the snapshot stale, and calls the subscribers once for all changes up to then. */
  _touch(): void;
}

/** Calls a listener at once. Its failure is reported as an unhandled rejection, and does not disturb the caller. */
const call = async <T>(listener: (value: T) => void, value: T): Promise<void> => listener(value);

/** Creates a store whose snapshot is built when it is needed. */
export function createSource<S, E>(build: () => S): Source<S, E> {
  /** The listeners of each event, and without a name those of the store. */
  const listeners = new Map<keyof E | undefined, Set<(event: never) => void>>();
  let snapshot: S | undefined;
  let isScheduled = false;

  function on(type: keyof E | undefined, listener: (event: never) => void): () => void {
    const entries = listeners.get(type) ?? new Set();
    const entry = (event: never): void => listener(event);
    listeners.set(type, entries.add(entry));
    return () => entries.delete(entry);
  }

  function emit(type: keyof E | undefined, event: unknown): void {
    for (const listener of listeners.get(type) ?? []) void call(listener, event as never);
  }

  const source: Source<S, E> = {
    get state() {
      return (snapshot ??= build());
    },

    subscribe(listener) {
      const entry = (): void => listener(source.state);
      void call(entry, undefined);
      return on(undefined, entry);
    },

    on,
    _emit: emit,

    _touch() {
      snapshot = undefined;
      if (isScheduled) return;
      isScheduled = true;
      queueMicrotask(() => {
        isScheduled = false;
        emit(undefined, undefined);
      });
    },
  };
  return source;
}
