// A chat.v1 client for k6, written after PROTOCOL.md. It also records what its user must get from each room, and what
// has arrived.

import * as metrics from './metrics.js';
import { size } from './settings.js';
import { Stream } from './stream.js';

/**
 * @typedef {{ room: string, epoch: string, seq: number, recovered: boolean }} Joined
 * @typedef {{ room: string, seq: number, user: { id: string }, key?: string, body: Body }} Message a deleted message has
 *   no body and no key
 * @typedef {{ room: string, seq: number, target: number, what: string }} Changed
 * @typedef {{ text: string, t: number, last?: boolean }} Body `t` is the time of sending; `last` marks the last message
 *   of its sender
 * @typedef {{ room: string, key: string, body: Body, acknowledged: boolean, seq?: number }} PendingSend
 */

/** Time for which a leaving user waits for missing messages. What is missing after it counts as lost. */
const PATIENCE_MS = size('PATIENCE_MS', 20000);

/** A text of about the length that people write. */
const TEXT = '안녕하세요, is anybody here? '.repeat(3);

/** One user of the chat. Its streams continue over all of its connections. */
export class User {
  /**
   * @param {string} name
   * @param {import('./wire.js').Connect} connectWire
   */
  constructor(name, connectWire) {
    this.name = name;
    this.connectWire = connectWire;
    /** @type {Map<string, Stream>} */
    this.streams = new Map();
    /** @type {Map<string, PendingSend>} by key: messages that are not yet both acknowledged and delivered */
    this.pending = new Map();
    /** @type {(message: Message) => void} */
    this.onmessage = () => {};
    /** @type {(changed: Changed) => void} */
    this.onchanged = () => {};
    this.lost = 0;
    this.sent = 0;
    // User names are the same in the next run. Keys must differ.
    this.prefix = Math.random().toString(36).slice(2, 10);
    this.refs = 0;
    /** @type {Map<string, (event: any) => void>} */
    this.replies = new Map();
    /** @type {import('./wire.js').Wire | undefined} */
    this.wire = undefined;
    /** @type {'stay' | 'leave' | 'cut' | 'gone'} the only reason for which the connection may end */
    this.plan = 'stay';
    this.closeCode = 1000;
    this.unaudited = 0;
    metrics.users.add(1);
  }

  /**
   * Connects, joins the user's rooms again, repeats the sends that were not acknowledged, then calls `begin`. With
   * `blocking`, this function returns when the connection has ended.
   *
   * @param {() => void} begin
   * @param {() => void} [then] runs after a cut connection has ended
   */
  connect(begin, then = () => {}) {
    this.plan = 'stay';
    this.replies.clear();
    this.connectWire(`name=${encodeURIComponent(this.name)}`, {
      // Does not wait for `welcome`: the event-based API loses frames that arrive before it reports `open`.
      opened: (wire) => {
        this.wire = wire;
        this.rejoin(begin);
      },
      received: (text) => this.handleEvent(JSON.parse(text)),
      ended: (status, code) => {
        this.wire = undefined;
        metrics.upgraded.add(status === 101, { status: `${status}` });
        metrics.closed.add(1, { code: `${code}` });
        metrics.dropped.add(this.plan === 'stay' || this.plan === 'leave' ? 1 : 0, { code: `${code}` });
        if (this.plan === 'cut') {
          then();
        } else {
          this.report();
        }
      },
    });
  }

  /**
   * Joins a room without replay.
   *
   * @param {string} room
   * @param {() => void} [then]
   */
  join(room, then = () => {}) {
    this.request({ type: 'join', room }, (joined) => {
      this.streams.set(room, new Stream(joined));
      then();
    });
  }

  /**
   * Sends a message to a room that the user has joined. A user that leaves sends nothing more: on a slow server, it would
   * never have all replies.
   *
   * @param {string} room
   * @param {{ last?: boolean }} [more]
   */
  sendMessage(room, more = {}) {
    if (this.plan === 'leave' || this.plan === 'gone') {
      return;
    }
    this.sent += 1;
    const key = `${this.prefix}-${this.sent}`;
    const send = { room, key, body: { text: TEXT, t: Date.now(), ...more }, acknowledged: false };
    this.pending.set(key, send);
    this.transmit(send);
  }

  /**
   * Changes a message. A guest can edit and delete what the same connection has sent, and react to all messages.
   *
   * @param {string} room
   * @param {number} seq
   * @param {{ type: 'edit', body: { text: string } } | { type: 'delete', reason?: string } | { type: 'react', reaction:
   *   string, on: boolean } | { type: 'pin', on: boolean }} change
   * @param {(done: { seq?: number, duplicate?: boolean }) => void} [then]
   */
  change(room, seq, change, then = () => {}) {
    this.request({ ...change, room, seq }, (done) => {
      this.streams.get(room)?.raiseHead(done.seq ?? 0);
      then(done);
    });
  }

  /**
   * Reads single messages of a room, at most 100.
   *
   * @param {string} room
   * @param {number[]} seqs
   * @param {(messages: Message[]) => void} then
   */
  readMessages(room, seqs, then) {
    this.request({ type: 'history', room, seqs }, (history) => then(history.messages));
  }

  /**
   * Leaves for good: asks each room for its newest `seq`, waits for missing messages, and closes.
   *
   * @param {number} [code]
   */
  leave(code = 1000) {
    if (this.plan !== 'stay') {
      return;
    }
    this.plan = 'leave';
    this.closeCode = code;
    this.unaudited = this.streams.size;
    for (const stream of this.streams.values()) {
      // Joining again changes nothing, and the reply is current. It also follows the replies to all earlier sends.
      this.request({ type: 'join', room: stream.room }, (joined) => {
        stream.raiseHead(joined.seq);
        this.unaudited -= 1;
        this.closeIfComplete();
      });
    }
    this.closeIfComplete();
    this.wire?.after(PATIENCE_MS, () => this.close());
  }

  /**
   * Ends the connection immediately, with everything that is in flight on it.
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
  handleEvent(event) {
    switch (event.type) {
      case 'message':
        this.handleMessage(event);
        break;
      case 'changed':
        this.handleChanged(event);
        break;
      case 'gap':
        this.streams.get(event.room)?.skip(event.from, event.to);
        break;
      case 'error':
        metrics.errors.add(1, { code: event.code });
        break;
      default:
        this.handleReply(event);
    }
    if (this.plan === 'leave') {
      this.closeIfComplete();
    }
  }

  /** @private @param {() => void} begin */
  rejoin(begin) {
    let remaining = this.streams.size;
    for (const stream of this.streams.values()) {
      const after = { epoch: stream.epoch, seq: stream.seq };
      this.request({ type: 'join', room: stream.room, after }, (joined) => {
        metrics.recovered.add(stream.rejoin(joined));
        remaining -= 1;
        if (remaining === 0) {
          this.unanswered().forEach((send) => this.transmit(send));
          begin();
        }
      });
    }
    if (remaining === 0) {
      begin();
    }
  }

  /** @private @param {Message} message */
  handleMessage(message) {
    const stream = this.streams.get(message.room);
    if (!stream || !stream.receive(message.seq)) {
      return;
    }
    if (message.seq > stream.live) {
      metrics.delivery.add(Date.now() - (message.body?.t ?? Date.now()));
    } else {
      metrics.replayed.add(1);
    }
    if (message.user.id === this.name && message.key) {
      this.compare(message.key, message.seq);
    }
    this.onmessage(message);
  }

  /** A change is an entry of the room's log, as a message is. @private @param {Changed} changed */
  handleChanged(changed) {
    if (this.streams.get(changed.room)?.receive(changed.seq)) {
      this.onchanged(changed);
    }
  }

  /** @private @param {PendingSend} send */
  transmit(send) {
    const { room, key, body } = send;
    this.request({ type: 'send', room, key, body }, (sent) => {
      send.acknowledged = true;
      metrics.acknowledged.add(1);
      metrics.repeated.add(sent.duplicate ? 1 : 0);
      metrics.acknowledgement.add(Date.now() - body.t);
      this.streams.get(room)?.raiseHead(sent.seq);
      this.compare(key, sent.seq);
    });
  }

  /** Compares the `seq` of `sent` with the `seq` of `message`. @private @param {string} key @param {number} seq */
  compare(key, seq) {
    const send = this.pending.get(key);
    if (!send) {
      return;
    }
    if (send.seq === undefined) {
      send.seq = seq;
      return;
    }
    if (send.seq !== seq) {
      this.lost += 1;
    }
    this.pending.delete(key);
  }

  /** @private @param {object} command @param {(reply: any) => void} then */
  request(command, then) {
    this.refs += 1;
    const ref = `${this.refs}`;
    this.replies.set(ref, then);
    this.wire?.send(JSON.stringify({ ref, ...command }));
  }

  /** @private @param {{ ref?: string }} event */
  handleReply(event) {
    const then = event.ref && this.replies.get(event.ref);
    if (event.ref && then) {
      this.replies.delete(event.ref);
      then(event);
    }
  }

  /** @private */
  unanswered() {
    return [...this.pending.values()].filter((send) => !send.acknowledged);
  }

  /** @private */
  closeIfComplete() {
    const complete = this.unaudited === 0 && [...this.streams.values()].every((stream) => stream.absent === 0);
    if (complete && this.pending.size === 0) {
      this.close();
    }
  }

  /** @private */
  close() {
    if (this.plan === 'leave') {
      this.plan = 'gone';
      this.wire?.close(this.closeCode);
    }
  }

  /** Adds the user's results to the metrics. @private */
  report() {
    const streams = [...this.streams.values()];
    const sum = (/** @type {(stream: Stream) => number} */ of) =>
      streams.reduce((total, stream) => total + of(stream), 0);
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
