import { fold, revision } from "./fold.js";
import type { Events, Message } from "./wire.js";

/** The newest messages of a room, bounded. They have no hole that the log can fill. */
export interface Messages {
  /** True if the log has older messages. */
  _more: boolean;
  /** Returns the messages, oldest first, as an array that never changes. */
  _all(): readonly Message[];
  /** Returns the pinned messages, by `seq`, as an array that is replaced by a change of the pins only. */
  _pins(): readonly number[];
  /** Forgets all messages. */
  _clear(more: boolean): void;
  /** Adds messages. Of two states of one message, the newer one stays. If there are too many, the oldest go. */
  _add(added: readonly Message[]): void;
  /** Adds a new message, and counts it for its thread. */
  _append(message: Message): void;
  /** Applies a change, if its message is held. */
  _change(change: Events["changed"]): void;
  /** Removes the messages after `after` and up to `to` that a page of the log does not have, and adds the page. */
  _replace(after: number, to: number, page: readonly Message[]): void;
}

/** Creates the messages of a room. */
export function createMessages(limit: number): Messages {
  const messages = new Map<number, Message>();
  let sorted: readonly Message[] | undefined;
  let pins: readonly number[] = [];

  const all = (): readonly Message[] => (sorted ??= [...messages.values()].sort((a, b) => a.seq - b.seq));

  function set(message: Message): void {
    messages.set(message.seq, message);
    sorted = undefined;
  }

  function remove(seq: number): void {
    messages.delete(seq);
    sorted = undefined;
  }

  function add(added: readonly Message[]): void {
    for (const message of added) {
      const held = messages.get(message.seq);
      if (!held || revision(message) > revision(held)) set(message);
    }
    for (const { seq } of messages.size > limit ? all().slice(0, -limit) : []) {
      remove(seq);
      self._more = true;
    }
  }

  function replace(after: number, to: number, page: readonly Message[]): void {
    for (const { seq } of all()) {
      if (seq > after && seq <= to && !page.some((message) => message.seq === seq)) remove(seq);
    }
    add(page);
  }

  const self: Messages = {
    _more: false,
    _all: all,
    _pins() {
      const newest = all().filter(({ pinned }) => pinned).map(({ seq }) => seq);
      if (`${newest}` !== `${pins}`) pins = newest;
      return pins;
    },
    _clear(more) {
      replace(0, Infinity, []);
      self._more = more;
    },
    _add: add,
    _append(message) {
      const first = messages.get(message.thread ?? 0);
      const { count, last } = first?.replies ?? { count: 0, last: 0 };
      if (first && message.seq > last) set({ ...first, replies: { count: count + 1, last: message.seq } });
      add([message]);
    },
    _change(change) {
      const held = messages.get(change.target);
      const next = held && fold(held, change);
      if (next && next !== held) set(next);
    },
    _replace: replace,
  };
  return self;
}
