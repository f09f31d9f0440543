/**
 * What one user must get of one room, and has got: the messages after the `joined` that began it, over any number
 * of connections.
 */
export class Stream {
  /** @param {import('./chat.js').Joined} joined the first one */
  constructor(joined) {
    this.room = joined.room;
    this.epoch = joined.epoch;
    /** The last message before it. */
    this.base = joined.seq;
    /** The newest message that has come. */
    this.seq = joined.seq;
    /** Where the room was when the connection of the moment joined: what is older is told again, not live. */
    this.live = joined.seq;
    /** The newest message that the room is known to have. */
    this.head = joined.seq;
    /** @type {Set<number>} messages that were passed over */
    this.missing = new Set();
    this.delivered = 0;
    this.duplicated = 0;
    this.reordered = 0;
    this.skipped = 0;
  }

  /**
   * The room was joined again, after `seq`.
   *
   * @param {import('./chat.js').Joined} joined
   * @returns {boolean} whether the stream goes on where it was
   */
  rejoined(joined) {
    this.live = joined.seq;
    this.knows(joined.seq);
    return joined.recovered && joined.epoch === this.epoch;
  }

  /**
   * A message has come.
   *
   * @param {number} seq
   * @returns {boolean} whether it has come for the first time
   */
  takes(seq) {
    if (seq > this.seq) {
      for (let passed = this.seq + 1; passed < seq; passed += 1) {
        this.missing.add(passed);
      }
      this.seq = seq;
    } else if (this.missing.delete(seq)) {
      this.reordered += 1;
    } else {
      this.duplicated += 1;
      return false;
    }
    this.delivered += 1;
    return true;
  }

  /**
   * A `gap` has come.
   *
   * @param {number} from
   * @param {number} to
   */
  skips(from, to) {
    this.skipped += to - from + 1;
    this.seq = Math.max(this.seq, to);
  }

  /**
   * The room has this message, whoever says so.
   *
   * @param {number} seq
   */
  knows(seq) {
    this.head = Math.max(this.head, seq);
  }

  /** How many messages the user was to get. */
  get expected() {
    return Math.max(this.head, this.seq) - this.base;
  }

  /** How many of them are not there. */
  get absent() {
    return this.missing.size + Math.max(0, this.head - this.seq);
  }
}
