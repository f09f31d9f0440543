/**
 * The messages that one user must get from one room after its first `joined`, and those that have arrived. A stream
 * continues over any number of connections.
 */
export class Stream {
  /** @param {import('./commands.js').Joined} joined the first `joined` of the room */
  constructor(joined) {
    this.room = joined.room;
    this.epoch = joined.epoch;
    /** The last message before the stream. */
    this.base = joined.seq;
    /** The newest message that has arrived. */
    this.seq = joined.seq;
    /** The newest message when the current connection joined. Messages up to here are replayed, not live. */
    this.live = joined.seq;
    /** The newest message that the room is known to have. */
    this.head = joined.seq;
    /** @type {Set<number>} positions below `seq` that have not arrived */
    this.missing = new Set();
    this.delivered = 0;
    this.duplicated = 0;
    this.reordered = 0;
    this.skipped = 0;
  }

  /**
   * Continues the stream after the room was joined again with `after`.
   *
   * @param {import('./commands.js').Joined} joined
   * @returns {boolean} true if nothing is missing between the connections
   */
  rejoin(joined) {
    this.live = joined.seq;
    this.raiseHead(joined.seq);
    return joined.recovered && joined.epoch === this.epoch;
  }

  /**
   * Records a message.
   *
   * @param {number} seq
   * @returns {boolean} true if the message has arrived for the first time
   */
  receive(seq) {
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
   * Records a `gap`.
   *
   * @param {number} from
   * @param {number} to
   */
  skip(from, to) {
    this.skipped += to - from + 1;
    this.seq = Math.max(this.seq, to);
  }

  /**
   * Records that the room has this message.
   *
   * @param {number} seq
   */
  raiseHead(seq) {
    this.head = Math.max(this.head, seq);
  }

  /** The number of messages that the user must get. */
  get expected() {
    return Math.max(this.head, this.seq) - this.base;
  }

  /** The number of expected messages that have not arrived. */
  get absent() {
    return this.missing.size + Math.max(0, this.head - this.seq);
  }
}
