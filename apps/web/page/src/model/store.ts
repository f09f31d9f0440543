/** A value that components can watch: the smallest form of the client's `Store`. */
export interface Source<S> {
  readonly state: S;
  readonly subscribe: (listener: (state: S) => void) => () => void;
}

export class Cell<S> implements Source<S> {
  #listeners = new Set<(state: S) => void>();

  constructor(public state: S) {}

  set(state: S): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }

  readonly subscribe = (listener: (state: S) => void): (() => void) => {
    this.#listeners.add(listener);
    listener(this.state);
    return () => this.#listeners.delete(listener);
  };
}
