import type { Store } from "./types.js";

/** The wait before listeners are called while many events arrive, in ms. */
const BURST = 20;

/** Calls a listener. Its failure is reported as uncaught, and does not disturb the caller. */
export function call<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** A store whose snapshot is built when it is needed, and that emits the events `E`. */
export abstract class Source<S, E> implements Store<S> {
  readonly #listeners = new Set<() => void>();
  readonly #handlers = new Map<keyof E, Set<(event: never) => void>>();
  #state: S | undefined;
  #stale = true;
  #scheduled = false;

  /** Builds a snapshot. */
  protected abstract _build(): S;

  get state(): S {
    if (this.#stale) {
      this.#state = this._build();
      this.#stale = false;
    }
    return this.#state as S;
  }

  readonly subscribe = (listener: (state: S) => void): (() => void) => {
    const entry = (): void => call(listener, this.state);
    this.#listeners.add(entry);
    entry();
    return () => this.#listeners.delete(entry);
  };

  on<T extends keyof E>(type: T, listener: (event: E[T]) => void): () => void {
    const listeners = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, listeners);
    const entry = (event: E[T]): void => listener(event);
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  /** Calls the listeners of an event. */
  _emit<T extends keyof E>(type: T, event: E[T]): void {
    for (const listener of this.#handlers.get(type) ?? []) call(listener, event as never);
  }

  /** Makes the snapshot stale, and calls the subscribers once for all changes up to then. */
  _touch(burst = false): void {
    this.#stale = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    const flush = (): void => {
      this.#scheduled = false;
      for (const listener of this.#listeners) listener();
    };
    if (burst) setTimeout(flush, BURST);
    else queueMicrotask(flush);
  }
}
