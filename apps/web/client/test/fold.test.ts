import assert from "node:assert/strict";
import { test } from "node:test";
import { fold } from "../src/fold.js";
import { createMessages } from "../src/messages.js";
import type { Events, Message } from "../src/wire.js";

const ann = { id: "ann", name: "Ann" };
const bo = { id: "bo", name: "Bo" };

const message = (seq: number, more: Partial<Message> = {}): Message => ({
  seq,
  user: ann,
  at: 1000 + seq,
  body: { text: `m${seq}` },
  ...more,
});

/** Reads a `changed` event from its text on the wire. */
const changed = (fields: string): Events["changed"] =>
  JSON.parse(`{"type":"changed","room":"lobby","at":2000,"by":{"id":"ann","name":"Ann"},${fields}}`);

test("an edit replaces the body and the mentions, and makes reactions stale", () => {
  const reactions = [{ reaction: "👍", count: 1, users: [bo] }];
  const before = message(1, { key: "k", mentions: ["bo"], reactions });
  const after = fold(before, changed(`"seq":2,"target":1,"what":"edited","body":{"text":"new"}`));
  assert.deepEqual(after, {
    ...message(1, { key: "k" }),
    body: { text: "new" },
    rev: 2,
    edited: { at: 2000 },
    reactions: [{ reaction: "👍", count: 1, users: [bo], stale: 1 }],
  });
  assert.deepEqual(before, message(1, { key: "k", mentions: ["bo"], reactions }), "a snapshot never changes");
});

test("an edit names its editor only if that is another user than the author", () => {
  const after = fold(message(1, { user: bo }), changed(`"seq":2,"target":1,"what":"edited","body":{"text":"new"}`));
  assert.deepEqual(after.edited, { at: 2000, by: ann });
});

test("a deletion erases all but the place of the message", () => {
  const full: Partial<Message> = { key: "k", mentions: ["bo"], edited: { at: 5 }, rev: 3, pinned: true, reactions: [] };
  const after = fold(message(1, full), changed(`"seq":5,"target":1,"what":"deleted","reason":"spam"`));
  const { body: _, ...rest } = message(1);
  assert.deepEqual(after, { ...rest, rev: 5, deleted: { at: 2000, by: ann, reason: "spam" } });
});

test("reactions and pins are replaced by the state after the change", () => {
  const reaction = `{"reaction":"👍","count":2,"users":[{"id":"bo","name":"Bo"}]}`;
  const reacted = fold(message(1), changed(`"seq":2,"target":1,"what":"reactions","reactions":[${reaction}]`));
  assert.equal(reacted.reactions?.[0]?.count, 2);
  const none = fold(reacted, changed(`"seq":3,"target":1,"what":"reactions","reactions":[]`));
  assert.deepEqual(none, message(1, { rev: 3 }));
  const pinned = fold(none, changed(`"seq":4,"target":1,"what":"pinned","pinned":true`));
  assert.deepEqual(pinned, message(1, { rev: 4, pinned: true }));
  assert.deepEqual(fold(pinned, changed(`"seq":5,"target":1,"what":"pinned","pinned":false`)), message(1, { rev: 5 }));
});

test("a change that is contained already, or unknown, has no effect", () => {
  const held = message(1, { rev: 4 });
  assert.equal(fold(held, changed(`"seq":4,"target":1,"what":"edited","body":{"text":"old"}`)), held);
  assert.equal(fold(held, changed(`"seq":5,"target":1,"what":"superseded"`)), held);
});

test("a purge deletes the messages of its user in its range", () => {
  const purged: Events["purged"] = {
    ...{ room: "lobby", seq: 9, at: 2000, by: ann, user: { id: "bo", name: "Another name" } },
    ...{ from: 2, to: 6, unpinned: [3] },
  };
  const messages = createMessages(10);
  const deleted = { at: 1000, by: bo };
  messages._pin([3, 8]);
  messages._add([
    message(1, { user: bo }),
    message(2, { user: bo, key: "k", rev: 7, edited: { at: 1500 }, replies: { count: 1, last: 7 }, pinned: true }),
    message(4),
    message(5, { user: bo, rev: 6, deleted }),
    message(6, { user: bo, rev: 10, thread: 1 }),
  ]);
  const before = messages._all();
  messages._change(purged);
  const { body: _, ...rest } = message(2, { user: bo, replies: { count: 1, last: 7 } });
  const expected = [...before];
  expected[1] = { ...rest, rev: 9, deleted: { at: 2000, by: ann } } as Message;
  assert.deepEqual(messages._all(), expected);
  assert.deepEqual(messages._pins(), [8]);
  const once = messages._all();
  messages._change(purged);
  assert.equal(messages._all(), once);
});

test("the newer state of a message stays, whatever the order", () => {
  const [old, young] = [message(3), message(3, { rev: 9, body: { text: "new" } })];
  for (const order of [[old, young], [young, old]]) {
    const messages = createMessages(10);
    for (const state of order) messages._add([message(2), state]);
    assert.deepEqual(messages._all(), [message(2), young]);
  }
});

test("only the newest messages are held", () => {
  const messages = createMessages(3);
  for (const seq of [1, 2, 3]) messages._add([message(seq)]);
  assert.equal(messages._more, false);
  messages._add([message(7)]);
  assert.deepEqual(messages._all().map(({ seq }) => seq), [2, 3, 7]);
  assert.equal(messages._more, true);
});

test("a snapshot shares the messages that did not change", () => {
  const messages = createMessages(10);
  messages._add([message(1), message(2)]);
  const before = messages._all();
  messages._change(changed(`"seq":3,"target":2,"what":"pinned","pinned":true`));
  assert.equal(messages._all()[0], before[0]);
  assert.notEqual(messages._all()[1], before[1]);
  const same = messages._all();
  messages._change(changed(`"seq":4,"target":99,"what":"pinned","pinned":true`));
  assert.equal(messages._all(), same);
});

test("a message in a thread counts once for its first message", () => {
  const messages = createMessages(10);
  messages._add([message(1)]);
  for (const seq of [2, 3, 3]) messages._count(message(seq, { thread: 1 }));
  assert.deepEqual(messages._all()[0], message(1, { replies: { count: 2, last: 3 }, rev: 3 }));
});

test("messages that a page of the log does not have any more are removed", () => {
  const messages = createMessages(10);
  messages._add([1, 2, 3, 4, 5].map((seq) => message(seq)));
  messages._replace(1, 4, [message(3, { rev: 6 })]);
  assert.deepEqual(messages._all().map(({ seq, rev }) => [seq, rev]), [[1, undefined], [3, 6], [5, undefined]]);
});

test("a first message that a page brought is not counted up by a message that it contains", () => {
  const messages = createMessages(10);
  const deleted = { at: 2000, by: ann };
  messages._add([message(1, { rev: 5, replies: { count: 2, last: 4 }, deleted })]);
  messages._count(message(4, { thread: 1 }));
  assert.equal(messages._all()[0]?.replies?.count, 2);
  messages._count(message(6, { thread: 1 }));
  assert.deepEqual(messages._all()[0], message(1, { rev: 6, replies: { count: 3, last: 6 }, deleted }));
});

test("pins of messages that are not held follow the changes too", () => {
  const messages = createMessages(10);
  messages._pin([2, 5, 7]);
  messages._add([message(7), message(8)]);
  assert.deepEqual(messages._pins(), [2, 5], "a message that is held says itself if it is pinned");
  messages._change(changed(`"seq":9,"target":2,"what":"deleted"`));
  messages._change(changed(`"seq":10,"target":3,"what":"pinned","pinned":true`));
  messages._change(changed(`"seq":11,"target":8,"what":"pinned","pinned":true`));
  assert.deepEqual(messages._pins(), [3, 5, 8]);
  messages._change(changed(`"seq":12,"target":5,"what":"pinned","pinned":false`));
  assert.deepEqual(messages._pins(), [3, 8]);
});
