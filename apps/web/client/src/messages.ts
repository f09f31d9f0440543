import { fold, revision } from "./fold.js";
import type { Events, Message } from "./wire.js";

/** The newest messages of a room, oldest first and bounded. The list has no hole that the log can fill. */
export class Messages {
  /** True if the log has older messages. */
  _more = false;
  #list: Message[] = [];
  #snapshot: readonly Message[] | undefined;

  constructor(readonly _limit: number) {}

  /** The messages as an array that never changes. */
  get _all(): readonly Message[] {
    return (this.#snapshot ??= this.#list.slice());
  }

  get _full(): boolean {
    return this.#list.length >= this._limit;
  }

  /** The `seq` of the oldest message. */
  get _first(): number | undefined {
    return this.#list[0]?.seq;
  }

  /** The `seq` of the newest message. */
  get _last(): number | undefined {
    return this.#list.at(-1)?.seq;
  }

  /** Forgets all messages. */
  _clear(more: boolean): void {
    this.#replace([]);
    this._more = more;
  }

  /** Adds messages. Of two states of one message, the newer one stays. If there are too many, the oldest go. */
  _add(added: readonly Message[]): void {
    for (const message of added) {
      const index = this.#index(message.seq);
      const held = this.#list[index];
      if (held?.seq !== message.seq) this.#list.splice(index, 0, message);
      else if (revision(message) > revision(held)) this.#list[index] = message;
    }
    const excess = this.#list.length - this._limit;
    if (excess > 0) {
      this.#list.splice(0, excess);
      this._more = true;
    }
    this.#snapshot = undefined;
  }

  /** Adds a new message, and counts it for its thread. */
  _append(message: Message): void {
    this._add([message]);
    this.#update(message.thread, (first) => {
      const { count, last } = first.replies ?? { count: 0, last: 0 };
      return message.seq > last ? { ...first, replies: { count: count + 1, last: message.seq } } : first;
    });
  }

  /** Applies a change, if its message is held. */
  _change(change: Events["changed"]): void {
    this.#update(change.target, (message) => fold(message, change));
  }

  /** Removes the messages after `after` and up to `to` that a page of the log does not have, and adds the page. */
  _replace(after: number, to: number, page: readonly Message[]): void {
    const exists = new Set(page.map((message) => message.seq));
    this.#replace(this.#list.filter(({ seq }) => seq <= after || seq > to || exists.has(seq)));
    this._add(page);
  }

  #replace(list: Message[]): void {
    this.#list = list;
    this.#snapshot = undefined;
  }

  #update(seq: number | undefined, change: (message: Message) => Message): void {
    if (seq === undefined) return;
    const index = this.#index(seq);
    const held = this.#list[index];
    if (held?.seq !== seq) return;
    const next = change(held);
    if (next === held) return;
    this.#list[index] = next;
    this.#snapshot = undefined;
  }

  /** Returns the place of the first message whose `seq` is not below the given one. */
  #index(seq: number): number {
    let [low, high] = [0, this.#list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#list[middle] as Message).seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
