/**
 * The state of a room after all entries that have arrived: the messages with their changes, the pinned messages, and
 * what the user has not read. PROTOCOL.md, section 5.7, has the rules.
 */
export class View {
  /**
   * @param {import('./commands.js').Joined} joined
   * @param {string} me the id of the user
   */
  constructor(joined, me) {
    this.me = me;
    /** Changes up to here are in `pins` already. */
    this.asOf = joined.seq;
    this.pins = new Set(joined.pins);
    this.marker = joined.read ?? 0;
    /** @type {Map<number, import('./commands.js').Message>} the messages after the first `joined`, by `seq` */
    this.messages = new Map();
  }

  /** @param {import('./commands.js').Message} message */
  receive(message) {
    this.messages.set(message.seq, message);
    const root = this.messages.get(message.thread ?? 0);
    if (root && message.seq > revision(root)) {
      root.replies = { count: (root.replies?.count ?? 0) + 1, last: message.seq };
      root.rev = message.seq;
    }
  }

  /** @param {import('./commands.js').Changed} changed */
  apply(changed) {
    const { seq, at, by, target, what } = changed;
    if (seq > this.asOf) {
      if (what === 'deleted' || what === 'pinned') {
        this.pins.delete(target);
      }
      if (what === 'pinned' && changed.pinned) {
        this.pins.add(target);
      }
    }
    const held = this.messages.get(target);
    if (!held || seq <= revision(held) || held.deleted) {
      return;
    }
    if (what === 'edited') {
      held.body = changed.body;
      held.mentions = changed.mentions;
      held.edited = by.id === held.user.id ? { at } : { at, by };
      held.reactions = held.reactions?.map((reaction) => ({ ...reaction, stale: reaction.count }));
    } else if (what === 'deleted') {
      held.deleted = changed.reason === undefined ? { at, by } : { at, by, reason: changed.reason };
      for (const field of ['key', 'body', 'mentions', 'edited', 'reactions', 'pinned']) {
        delete (/** @type {any} */ (held)[field]);
      }
    } else if (what === 'reactions') {
      held.reactions = changed.reactions?.length ? changed.reactions : undefined;
    } else if (what === 'pinned') {
      held.pinned = changed.pinned || undefined;
    } else {
      return;
    }
    held.rev = seq;
  }

  /** Moves the marker of the user. @param {number} seq */
  read(seq) {
    this.marker = Math.max(this.marker, seq);
  }

  /** What the server counts up to 100: the messages of others after the marker. */
  get unread() {
    let [unread, mentions] = [0, 0];
    for (const { seq, user, deleted, mentions: named } of this.messages.values()) {
      if (seq > this.marker && user.id !== this.me && !deleted) {
        unread += 1;
        mentions += named === '@room' || named?.includes(this.me) ? 1 : 0;
      }
    }
    return { read: this.marker, unread, mentions };
  }

  /**
   * Compares the messages with what the server has now.
   *
   * @param {import('./commands.js').Message[]} fresh
   * @returns {number} the number of messages that differ
   */
  differences(fresh) {
    return fresh.filter((message) => text(message) !== text(this.messages.get(message.seq))).length;
  }
}

/** @param {import('./commands.js').Message} message */
function revision(message) {
  return message.rev ?? message.seq;
}

/** Returns a value as JSON, with the keys of all objects in one order. @param {any} value @returns {string} */
function text(value) {
  if (value === null || typeof value !== 'object') {
    return JSON.stringify(value) ?? '';
  }
  if (Array.isArray(value)) {
    return `[${value.map(text)}]`;
  }
  const fields = Object.keys(value).filter((key) => value[key] !== undefined);
  return `{${fields.sort().map((key) => `${JSON.stringify(key)}:${text(value[key])}`)}}`;
}
