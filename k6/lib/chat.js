// A chat.v1 client for k6, after PROTOCOL.md, which also keeps the books: what its user must have got of each room,
// and has got.

import * as metrics from './metrics.js';
import { size } from './settings.js';
import { Stream } from './stream.js';

/**
 * @typedef {{ room: string, epoch: string, seq: number, recovered: boolean }} Joined
 * @typedef {{ room: string, seq: number, user: { id: string }, key?: string, body: Body }} Message
 * @typedef {{ text: string, t: number, last?: boolean }} Body `t` is when it was sent; `last` says that its sender
 *   will say no more
 * @typedef {{ room: string, key: string, body: Body, acknowledged: boolean, seq?: number }} Saying
 */

/** How long a leaving user waits for what is missing: long for any machine, since what is missing then is lost. */
const PATIENCE_MS = size('PATIENCE_MS', 20000);

/** About as long as what people write. */
const TEXT = '안녕하세요, is anybody here? '.repeat(3);

/** One user of the chat: on one connection after the other, the same streams go on. */
export class User {
  /**
   * @param {string} name
   * @param {import('./wire.js').Way} way
   */
  constructor(name, way) {
    this.name = name;
    this.way = way;
    /** @type {Map<string, Stream>} */
    this.streams = new Map();
    /** @type {Map<string, Saying>} what was sent, until it was both acknowledged and delivered */
    this.sayings = new Map();
    /** @type {(message: Message) => void} */
    this.onmessage = () => {};
    this.lost = 0;
    this.said = 0;
    // Names come again with the next run, keys must not.
    this.prefix = Math.random().toString(36).slice(2, 10);
    this.refs = 0;
    /** @type {Map<string, (event: any) => void>} */
    this.replies = new Map();
    /** @type {import('./wire.js').Wire | undefined} */
    this.wire = undefined;
    /** What it is about to do: nothing else may end its connection. */
    this.plan = 'stay';
    this.ending = 1000;
    this.unaudited = 0;
    metrics.users.add(1);
  }

  /**
   * Connects, goes back to its rooms, sends again what was not acknowledged, and begins. With `blocking`, this
   * returns at the connection's end.
   *
   * @param {() => void} begin
   * @param {() => void} [then] what comes after the connection, unless the user has left
   */
  connect(begin, then = () => {}) {
    this.plan = 'stay';
    this.replies.clear();
    this.way(`name=${encodeURIComponent(this.name)}`, {
      // Not at the welcome: the event-based API loses what comes before it has told of `open`.
      opened: (wire) => {
        this.wire = wire;
        this.goBack(begin);
      },
      received: (text) => this.hear(JSON.parse(text)),
      ended: (status, code) => {
        this.wire = undefined;
        metrics.upgraded.add(status === 101, { status: `${status}` });
        metrics.closed.add(1, { code: `${code}` });
        metrics.dropped.add(this.plan === 'stay' || this.plan === 'leave' ? 1 : 0, { code: `${code}` });
        if (this.plan === 'cut') {
          then();
        } else {
          this.settle();
        }
      },
    });
  }

  /**
   * Joins a room, from now on.
   *
   * @param {string} room
   * @param {() => void} [then]
   */
  join(room, then = () => {}) {
    this.ask({ type: 'join', room }, (joined) => {
      this.streams.set(room, new Stream(joined));
      then();
    });
  }

  /**
   * Says something in a room that it is in.
   *
   * @param {string} room
   * @param {{ last?: boolean }} [more]
   */
  say(room, more = {}) {
    this.said += 1;
    const key = `${this.prefix}-${this.said}`;
    const saying = { room, key, body: { text: TEXT, t: Date.now(), ...more }, acknowledged: false };
    this.sayings.set(key, saying);
    this.send(saying);
  }

  /**
   * Leaves for good: asks each room how far it is, waits for what is missing, closes.
   *
   * @param {number} [code]
   */
  leave(code = 1000) {
    if (this.plan !== 'stay') {
      return;
    }
    this.plan = 'leave';
    this.ending = code;
    this.unaudited = this.streams.size;
    for (const stream of this.streams.values()) {
      // Joining again changes nothing, and its reply is fresh. It also follows the replies to all that was sent.
      this.ask({ type: 'join', room: stream.room }, (joined) => {
        stream.knows(joined.seq);
        this.unaudited -= 1;
        this.mayGo();
      });
    }
    this.mayGo();
    this.wire?.after(PATIENCE_MS, () => this.go());
  }

  /**
   * Ends the connection here and now, with all that is under way on it.
   *
   * @param {number} [code]
   */
  cut(code = 1001) {
    if (this.plan === 'stay') {
      this.plan = 'cut';
      this.wire?.close(code);
    }
  }

  /** @private @param {any} event */
  hear(event) {
    switch (event.type) {
      case 'message':
        this.take(event);
        break;
      case 'gap':
        this.streams.get(event.room)?.skips(event.from, event.to);
        break;
      case 'error':
        metrics.errors.add(1, { code: event.code });
        break;
      default:
        this.answer(event);
    }
    if (this.plan === 'leave') {
      this.mayGo();
    }
  }

  /** @private @param {() => void} begin */
  goBack(begin) {
    let away = this.streams.size;
    for (const stream of this.streams.values()) {
      const after = { epoch: stream.epoch, seq: stream.seq };
      this.ask({ type: 'join', room: stream.room, after }, (joined) => {
        metrics.recovered.add(stream.rejoined(joined));
        away -= 1;
        if (away === 0) {
          this.unanswered().forEach((saying) => this.send(saying));
          begin();
        }
      });
    }
    if (away === 0) {
      begin();
    }
  }

  /** @private @param {Message} message */
  take(message) {
    const stream = this.streams.get(message.room);
    if (!stream || !stream.takes(message.seq)) {
      return;
    }
    if (message.seq > stream.live) {
      metrics.delivery.add(Date.now() - message.body.t);
    } else {
      metrics.replayed.add(1);
    }
    if (message.user.id === this.name && message.key) {
      this.compare(message.key, message.seq);
    }
    this.onmessage(message);
  }

  /** @private @param {Saying} saying */
  send(saying) {
    const { room, key, body } = saying;
    this.ask({ type: 'send', room, key, body }, (sent) => {
      saying.acknowledged = true;
      metrics.acknowledged.add(1);
      metrics.repeated.add(sent.duplicate ? 1 : 0);
      metrics.acknowledgement.add(Date.now() - body.t);
      this.streams.get(room)?.knows(sent.seq);
      this.compare(key, sent.seq);
    });
  }

  /** What was said is told twice: as acknowledged and as a message. @private @param {string} key @param {number} seq */
  compare(key, seq) {
    const saying = this.sayings.get(key);
    if (!saying) {
      return;
    }
    if (saying.seq === undefined) {
      saying.seq = seq;
      return;
    }
    if (saying.seq !== seq) {
      this.lost += 1;
    }
    this.sayings.delete(key);
  }

  /** @private @param {object} command @param {(reply: any) => void} then */
  ask(command, then) {
    this.refs += 1;
    const ref = `${this.refs}`;
    this.replies.set(ref, then);
    this.wire?.send(JSON.stringify({ ref, ...command }));
  }

  /** @private @param {{ ref?: string }} event */
  answer(event) {
    const then = event.ref && this.replies.get(event.ref);
    if (event.ref && then) {
      this.replies.delete(event.ref);
      then(event);
    }
  }

  /** @private */
  unanswered() {
    return [...this.sayings.values()].filter((saying) => !saying.acknowledged);
  }

  /** @private */
  mayGo() {
    const all = this.unaudited === 0 && [...this.streams.values()].every((stream) => stream.absent === 0);
    if (all && this.sayings.size === 0) {
      this.go();
    }
  }

  /** @private */
  go() {
    if (this.plan === 'leave') {
      this.plan = 'gone';
      this.wire?.close(this.ending);
    }
  }

  /** @private */
  settle() {
    const streams = [...this.streams.values()];
    const sum = (/** @type {(stream: Stream) => number} */ of) => streams.reduce((total, stream) => total + of(stream), 0);
    metrics.audited.add(this.plan === 'gone' && this.unaudited === 0);
    metrics.expected.add(sum((stream) => stream.expected));
    metrics.delivered.add(sum((stream) => stream.delivered));
    metrics.lost.add(this.lost + sum((stream) => stream.absent));
    metrics.unanswered.add(this.unanswered().length);
    metrics.duplicated.add(sum((stream) => stream.duplicated));
    metrics.reordered.add(sum((stream) => stream.reordered));
    metrics.skipped.add(sum((stream) => stream.skipped));
    metrics.errors.add(0);
  }
}
