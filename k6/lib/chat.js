// A chat.v1 client for k6, written after PROTOCOL.md. It also records what its user must get from each room, and what
// has arrived.

import { Commands } from './commands.js';
import * as metrics from './metrics.js';
import { size } from './settings.js';

/**
 * @typedef {import('./commands.js').Message} Message
 * @typedef {import('./commands.js').Changed} Changed
 * @typedef {import('./commands.js').Act} Act
 * @typedef {import('./commands.js').Links} Links
 * @typedef {import('./commands.js').Body & { t: number }} SentBody
 * @typedef {{ room: string, key: string, body: SentBody, links: Links, acknowledged: boolean, seq?: number }}
 *   PendingSend
 */

/** Time for which a leaving user waits for missing messages. What is missing after it counts as lost. */
const PATIENCE_MS = size('PATIENCE_MS', 20000);

/** A text of about the length that people write. */
const TEXT = '안녕하세요, is anybody here? '.repeat(3);

/** One user of the chat. Its streams continue over all of its connections. */
export class User extends Commands {
  /**
   * @param {string} name
   * @param {import('./wire.js').Connect} connectWire
   */
  constructor(name, connectWire) {
    super();
    this.name = name;
    this.connectWire = connectWire;
    /** @type {Map<string, PendingSend>} by key: messages that are not yet both acknowledged and delivered */
    this.pending = new Map();
    /** @type {(message: Message) => void} */
    this.onmessage = () => {};
    /** @type {(changed: Changed) => void} */
    this.onchanged = () => {};
    /** @type {(act: Act) => void} */
    this.onact = () => {};
    /** Another connection of the user has moved its marker. @type {(read: { room: string, seq: number }) => void} */
    this.onread = () => {};
    /** @type {(activity: { room: string, seq: number, unread: number, mentions: number }) => void} */
    this.onactivity = () => {};
    /** Runs when a leaving user has everything, and calls `then` when the connection may end. */
    this.onaudited = (/** @type {() => void} */ then) => then();
    this.auditing = false;
    this.lost = 0;
    this.sent = 0;
    // User names are the same in the next run. Keys must differ.
    this.prefix = Math.random().toString(36).slice(2, 10);
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
   * Sends a message to a room that the user has joined. A user that leaves sends nothing more: on a slow server, it would
   * never have all replies.
   *
   * @param {string} room
   * @param {{ last?: boolean }} [more]
   * @param {Links} [links]
   */
  sendMessage(room, more = {}, links = {}) {
    if (this.plan === 'leave' || this.plan === 'gone') {
      return;
    }
    this.sent += 1;
    const key = `${this.prefix}-${this.sent}`;
    const send = { room, key, body: { text: TEXT, t: Date.now(), ...more }, links, acknowledged: false };
    this.pending.set(key, send);
    this.transmit(send);
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
      case 'role':
      case 'settings':
        if (this.streams.get(event.room)?.receive(event.seq)) {
          this.onact(event);
        }
        break;
      case 'activity':
        this.onactivity(event);
        break;
      case 'gap':
        this.streams.get(event.room)?.skip(event.from, event.to);
        break;
      case 'error':
        metrics.errors.add(1, { code: event.code });
        break;
      default:
        if (event.ref) {
          this.handleReply(event);
        } else if (event.type === 'read') {
          this.onread(event);
        } else if (event.room && event.seq && event.at) {
          // An entry of a type that this client does not know.
          this.streams.get(event.room)?.receive(event.seq);
        }
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
    const { room, key, body, links } = send;
    this.request({ type: 'send', room, key, body, ...links }, (sent) => {
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

  /** @private */
  unanswered() {
    return [...this.pending.values()].filter((send) => !send.acknowledged);
  }

  /** @private */
  closeIfComplete() {
    const complete = this.unaudited === 0 && [...this.streams.values()].every((stream) => stream.absent === 0);
    if (complete && this.pending.size === 0 && !this.auditing) {
      this.auditing = true;
      this.onaudited(() => this.close());
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
