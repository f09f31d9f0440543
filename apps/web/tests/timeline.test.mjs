import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const page = new URL("../page/", import.meta.url);
const { build } = createRequire(new URL("package.json", page))("esbuild");
const { outputFiles } = await build({
  entryPoints: [new URL("src/model/timeline.ts", page).pathname],
  bundle: true,
  write: false,
  format: "esm",
});
const { Timeline } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);

/** @param {number} seq */
const message = (seq) => ({ seq, user: { id: "u", name: "U" }, at: seq, body: { text: String(seq) } });

/** A room of which each answer to a request for a page can be chosen. */
class FakeRoom {
  /** @type {Set<(state: object) => void>} */
  listeners = new Set();
  asked = 0;

  /**
   * @param {number[]} seqs
   * @param {(room: FakeRoom) => Promise<unknown>} answer
   */
  constructor(seqs, answer) {
    this.answer = answer;
    this.state = { messages: seqs.map(message), more: true, status: "live" };
  }

  /** @param {object} change */
  set(change) {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener(this.state);
  }

  /** @param {(state: object) => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    listener(this.state);
    return () => this.listeners.delete(listener);
  }

  on() {
    return () => undefined;
  }

  older() {
    this.asked++;
    return this.answer(this);
  }

  async history() {
    return { messages: [5, 6, 7, 8].map(message), more: true };
  }
}

/**
 * Asks after each change in a microtask, as the list does while its start is near.
 *
 * @param {InstanceType<typeof Timeline>} timeline
 */
function ask(timeline) {
  let rounds = 0;
  timeline.state.subscribe(() =>
    queueMicrotask(() => {
      // An endless loop of microtasks would not let the test end.
      if (++rounds < 1000) timeline.loadOlder();
    }),
  );
  return () => rounds;
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

/** @type {[string, () => Promise<unknown>][]} */
const NOTHING = [
  ["a refusal at once", () => Promise.reject(new Error("closed"))],
  ["a full window", () => Promise.resolve(true)],
];
for (const [name, answer] of NOTHING) {
  test(`${name} is not asked for again before the user scrolls or messages come`, async () => {
    const room = new FakeRoom([8, 9], answer);
    const timeline = new Timeline(room);
    const rounds = ask(timeline);
    await settled();
    assert.equal(room.asked, 1);
    assert.ok(rounds() < 5);
    // The room touches its state for other reasons, too.
    room.set({ typing: [] });
    timeline.loadOlder();
    await settled();
    assert.equal(room.asked, 1);
    timeline.retry();
    timeline.loadOlder();
    await settled();
    assert.equal(room.asked, 2);
    room.set({ messages: [8, 9, 10].map(message) });
    await settled();
    assert.equal(room.asked, 3);
    room.set({ status: "resuming" });
    timeline.loadOlder();
    await settled();
    assert.equal(room.asked, 4);
  });
}

test("pages are asked for until the beginning, also if the room publishes each before its answer", async () => {
  const room = new FakeRoom([8, 9], async (room) => {
    const [first] = room.state.messages;
    assert.ok(first);
    room.set({ messages: [message(first.seq - 1), ...room.state.messages], more: first.seq > 2 });
    // The list renders before the answer.
    await settled();
    return room.state.more;
  });
  const timeline = new Timeline(room);
  ask(timeline);
  while (room.state.more) await settled();
  await settled();
  assert.equal(room.asked, 7);
  assert.equal(timeline.state.state.messages[0].seq, 1);
  assert.equal(timeline.state.state.older, false);
});

test("a part further back is joined with the room's messages in an array that stays the same", async () => {
  const room = new FakeRoom([8, 9], () => Promise.resolve(true));
  const timeline = new Timeline(room);
  await timeline.goTo(6);
  const { state } = timeline.state;
  assert.deepEqual(state.messages.map((/** @type {{ seq: number }} */ { seq }) => seq), [5, 6, 7, 8, 9]);
  room.set({ typing: [] });
  assert.equal(timeline.state.state, state);
});
