import { fold, revision } from "./fold.js";
import type { Message, MessageChange } from "./wire.js";

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
  /** Replaces the pinned messages that are not held. Those that are held say themselves if they are pinned. */
  _pin(seqs: readonly number[]): void;
  /** Counts a message for the first message of its thread, unless that one contains it already. */
  _count(message: Message): void;
  /** Applies a change, or a purge. A message that is not held has only its pin. */
  _change(change: MessageChange): void;
  /** Removes the messages after `after` and up to `to` that a page of the log does not have, and adds the page. */
  _replace(after: number, to: number, page: readonly Message[]): void;
}

/** Creates the messages of a room. */
export function createMessages(limit: number): Messages {
  const messages = new Map<number, Message>();
  let sorted: readonly Message[] | undefined;
  let pins: readonly number[] = [];
  let pinned = new Set<number>();

  const all = (): readonly Message[] => (sorted ??= [...messages.values()].sort((a, b) => a.seq - b.seq));

  function set(message: Message): void {
    messages.set(message.seq, message);
    sorted = undefined;
  }

  function remove(seq: number): void {
    messages.delete(seq);
    sorted = undefined;
  }

  function setPin(seq: number, isPinned?: boolean): void {
    if (isPinned) pinned.add(seq);
    else pinned.delete(seq);
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
      for (const message of all()) setPin(message.seq, message.pinned);
      const newest = [...pinned].sort((a, b) => a - b);
      if (`${newest}` !== `${pins}`) pins = newest;
      return pins;
    },
    _clear(more) {
      replace(0, Infinity, []);
      self._more = more;
    },
    _add: add,
    _pin(seqs) {
      pinned = new Set(seqs);
    },
    _count({ seq, thread = 0 }) {
      const first = messages.get(thread);
      if (!first || seq <= revision(first)) return;
      set({ ...first, replies: { count: (first.replies?.count ?? 0) + 1, last: seq }, rev: seq });
    },
    _change(change) {
      if (change.what === "pinned") setPin(change.target, change.pinned);
      if (change.what === "deleted") setPin(change.target);
      change.unpinned?.forEach((seq) => pinned.delete(seq));
      for (const held of all()) {
        const next = fold(held, change);
        if (next !== held) set(next);
      }
    },
    _replace: replace,
  };
  return self;
}
