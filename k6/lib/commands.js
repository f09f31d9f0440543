// The commands of a user, and the streams that their replies move.

import { Stream } from './stream.js';

/**
 * @typedef {{ id: string, name: string }} Person
 * @typedef {{ room: string, epoch: string, seq: number, recovered: boolean, role: string, may: string[], pins?:
 *   number[], read?: number, unread?: number, mentions?: number }} Joined
 * @typedef {string[] | '@room'} Mentions
 * @typedef {{ reply_to?: number, thread?: number, mentions?: Mentions }} Links
 * @typedef {{ reaction: string, count: number, users: Person[], stale?: number }} Reaction
 * @typedef {object} Folded
 * @property {number} [rev]
 * @property {{ at: number, by?: Person }} [edited]
 * @property {Reaction[]} [reactions]
 * @property {boolean} [pinned]
 * @property {{ count: number, last: number }} [replies]
 * @property {{ at: number, by: Person, reason?: string }} [deleted]
 * @typedef {{ room: string, seq: number, at: number, user: Person, key?: string, body?: Body } & Links & Folded}
 *   Message a deleted message has no body and no key
 * @typedef {{ room: string, seq: number, at: number, by: Person, target: number, what: string, body?: Body, mentions?:
 *   Mentions, reason?: string, reactions?: Reaction[], pinned?: boolean }} Changed
 * @typedef {{ room: string, seq: number, at: number, by: Person }} Act a `role` or `settings` entry
 * @typedef {{ text: string, t?: number, last?: boolean }} Body `t` is the time of sending; `last` marks the last
 *   message of its sender
 */

/** Sends commands on the present connection, and calls back with their replies. */
export class Commands {
  constructor() {
    /** @type {Map<string, Stream>} */
    this.streams = new Map();
    this.refs = 0;
    /** @type {Map<string, (event: any) => void>} */
    this.replies = new Map();
    /** @type {import('./wire.js').Wire | undefined} */
    this.wire = undefined;
  }

  /**
   * Joins a room without replay.
   *
   * @param {string} room
   * @param {(joined: Joined) => void} [then]
   */
  join(room, then = () => {}) {
    this.request({ type: 'join', room }, (joined) => {
      this.streams.set(room, new Stream(joined));
      then(joined);
    });
  }

  /**
   * Asks for the present state of a room that the user has joined. Its stream stays.
   *
   * @param {string} room
   * @param {(joined: Joined) => void} then
   */
  inspect(room, then) {
    this.request({ type: 'join', room }, then);
  }

  /**
   * Changes a message. A guest can edit and delete what the same connection has sent, and react to all messages.
   *
   * @param {string} room
   * @param {number} seq
   * @param {{ type: 'edit', body: Body, mentions?: Mentions, rev?: number } | { type: 'delete', reason?: string } | {
   *   type: 'react', reaction: string, on: boolean } | { type: 'pin', on: boolean }} change
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
   * Reads one page of a room or of a thread.
   *
   * @param {string} room
   * @param {{ before?: number, after?: number, limit?: number, thread?: number }} range
   * @param {(page: { messages: Message[], more: boolean }) => void} then
   */
  readPage(room, range, then) {
    this.request({ type: 'history', room, ...range }, then);
  }

  /**
   * Creates a room or sets its rules, gives a user a role, or restricts a user. The entry is part of the stream.
   *
   * @param {string} room
   * @param {{ type: 'create', join?: string, post?: string, title?: string } | { type: 'role', user: string, role:
   *   string } | { type: 'restrict', user: string, what: string, until?: number, reason?: string }} act
   * @param {(done: { seq?: number }) => void} [then]
   */
  act(room, act, then = () => {}) {
    this.request({ ...act, room }, (done) => {
      this.streams.get(room)?.raiseHead(done.seq ?? 0);
      then(done);
    });
  }

  /**
   * Moves the user's marker of a room forward.
   *
   * @param {string} room
   * @param {number} seq
   * @param {(seq: number) => void} [then] gets the position of the marker
   */
  markRead(room, seq, then = () => {}) {
    this.request({ type: 'read', room, seq }, (read) => then(read.seq));
  }

  /**
   * Follows a room, or ends that.
   *
   * @param {string} room
   * @param {boolean} on
   * @param {() => void} [then]
   */
  follow(room, on, then = () => {}) {
    this.request({ type: 'follow', room, on }, then);
  }

  /**
   * Lists the first rooms that the user follows or is in.
   *
   * @param {(rooms: { room: string, seq: number, read: number, unread: number, mentions: number }[]) => void} then
   */
  listRooms(then) {
    this.request({ type: 'rooms', limit: 100 }, (reply) => then(reply.rooms));
  }

  /**
   * Lists the first users in a room.
   *
   * @param {string} room
   * @param {(members: Person[], total: number) => void} then
   */
  listMembers(room, then) {
    this.request({ type: 'members', room }, (reply) => then(reply.members, reply.total));
  }

  /**
   * Searches a room.
   *
   * @param {string} room
   * @param {string} query
   * @param {(messages: Message[]) => void} then
   */
  search(room, query, then) {
    this.request({ type: 'search', room, query }, (found) => then(found.messages));
  }

  /**
   * Announces that the user types, or has stopped. It has no reply.
   *
   * @param {string} room
   * @param {boolean} active
   */
  type(room, active) {
    this.wire?.send(JSON.stringify({ type: 'typing', room, active }));
  }

  /** @protected @param {object} command @param {(reply: any) => void} then */
  request(command, then) {
    this.refs += 1;
    const ref = `${this.refs}`;
    this.replies.set(ref, then);
    this.wire?.send(JSON.stringify({ ref, ...command }));
  }

  /** @protected @param {{ ref?: string }} event */
  handleReply(event) {
    const then = event.ref && this.replies.get(event.ref);
    if (event.ref && then) {
      this.replies.delete(event.ref);
      then(event);
    }
  }
}
