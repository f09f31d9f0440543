import { fold, revision } from "./fold.js";
import type { Events, Message } from "./wire.js";

/** The newest messages of a room, bounded. They have no hole that the log can fill. */
export class Messages {
  /** True if the log has older messages. */
  _more = false;
  readonly #messages = new Map<number, Message>();
  #sorted: readonly Message[] | undefined;
  #pins: readonly number[] = [];

  declare readonly _limit: number;

  constructor(limit: number) {
    this._limit = limit;
  }

  /** The messages, oldest first, as an array that never changes. */
  get _all(): readonly Message[] {
    return (this.#sorted ??= [...this.#messages.values()].sort((a, b) => a.seq - b.seq));
  }

  /** The pinned messages, by `seq`, as an array that is replaced by a change of the pins only. */
  get _pins(): readonly number[] {
    const pins = this._all.filter(({ pinned }) => pinned).map(({ seq }) => seq);
    if (`${pins}` !== `${this.#pins}`) this.#pins = pins;
    return this.#pins;
  }

  /** The `seq` of the oldest message. */
  get _first(): number | undefined {
    return this._all[0]?.seq;
  }

  /** True if no older message has place. */
  get _full(): boolean {
    return this.#messages.size >= this._limit;
  }

  /** Forgets all messages. */
  _clear(more: boolean): void {
    this._replace(0, Infinity, []);
    this._more = more;
  }

  /** Adds messages. Of two states of one message, the newer one stays. If there are too many, the oldest go. */
  _add(added: readonly Message[]): void {
    for (const message of added) {
      const held = this.#messages.get(message.seq);
      if (!held || revision(message) > revision(held)) this.#set(message);
    }
    for (const { seq } of this._full ? this._all.slice(0, -this._limit) : []) {
      this.#delete(seq);
      this._more = true;
    }
  }

  /** Adds a new message, and counts it for its thread. */
  _append(message: Message): void {
    const first = this.#messages.get(message.thread ?? 0);
    const { count, last } = first?.replies ?? { count: 0, last: 0 };
    if (first && message.seq > last) this.#set({ ...first, replies: { count: count + 1, last: message.seq } });
    this._add([message]);
  }

  /** Applies a change, if its message is held. */
  _change(change: Events["changed"]): void {
    const held = this.#messages.get(change.target);
    const next = held && fold(held, change);
    if (next && next !== held) this.#set(next);
  }

  /** Removes the messages after `after` and up to `to` that a page of the log does not have, and adds the page. */
  _replace(after: number, to: number, page: readonly Message[]): void {
    for (const { seq } of this._all) {
      if (seq > after && seq <= to && !page.some((message) => message.seq === seq)) this.#delete(seq);
    }
    this._add(page);
  }

  #set(message: Message): void {
    this.#messages.set(message.seq, message);
    this.#sorted = undefined;
  }

  #delete(seq: number): void {
    this.#messages.delete(seq);
    this.#sorted = undefined;
  }
}
