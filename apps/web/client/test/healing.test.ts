// Random conversations over connections that break. After the last fault, each client must have exactly what a new
// reader gets. HEAL_SECONDS sets the time for each adapter, SEED repeats a run, ADAPTERS names the adapters.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Chat, ChatError, connect, type Message, type Room } from "@chat-core/client";
import { type Fault, Proxy } from "./support/proxy.js";
import { Random } from "./support/random.js";
import { ADAPTERS, Server } from "./support/server.js";
import { until } from "./support/until.js";

const SECONDS = Number(process.env["HEAL_SECONDS"] ?? 3);
const SEED = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
const NAMES = process.env["ADAPTERS"]?.split(",") ?? ADAPTERS;

/** Refusals that a change can get because of another change, or because the server has no changes. */
const ALLOWED = ["unknown_type", "gone", "no_message", "too_late", "conflict", "forbidden"];

function fault(random: Random): Fault {
  const bytes = random.below(4000);
  switch (random.below(4)) {
    case 0:
      return undefined;
    case 1:
      return { kind: "silence", bytes };
    case 2:
      return { kind: "delay", ms: random.below(4), bytes: 1 + random.below(600) };
    default:
      return { kind: "cut", bytes };
  }
}

/** Writes and changes random messages until `end`. */
async function talk(room: Room, random: Random, end: number): Promise<number> {
  let sent = 0;
  const open = new Set<Promise<unknown>>();
  while (Date.now() < end) {
    const { messages } = room.state;
    const target = messages.length ? random.pick(messages).seq : 0;
    const command = target ? random.below(8) : 7;
    const done: Promise<unknown> =
      command === 0 ? room.edit(target, `edit ${random.below(1000)}`)
      : command === 1 && random.below(3) === 0 ? room.delete(target)
      : command === 2 ? room.react(target, random.pick(["👍", "🎉"]), random.below(3) > 0)
      : command === 3 ? room.pin(target, random.below(2) > 0)
      : (sent++, room.send(`${room.state.count} ${"x".repeat(random.below(300))}`));
    const settled = done.catch((error) => {
      assert.ok(error instanceof ChatError && ALLOWED.includes(error.code), error);
    });
    open.add(settled);
    void settled.then(() => open.delete(settled));
    if (open.size > 4) await Promise.race(open);
    else await new Promise((resolve) => setTimeout(resolve, random.below(20)));
  }
  await Promise.all(open);
  return sent;
}

/** Reads the whole room with a new client. */
async function readAll(url: string): Promise<readonly Message[]> {
  const chat = connect(url);
  const room = chat.join("room", { last: 20 });
  await until(room, ({ status }) => status === "live");
  while (await room.older(200));
  chat.close();
  return room.state.messages;
}

async function run(adapter: string, seed: number): Promise<void> {
  await using server = await Server.start(adapter);
  await using proxy = await Proxy.start(() => server.port);
  const random = new Random(seed);
  const chats: Chat[] = [];
  const seen: number[][] = [];
  const rooms = ["Ann", "Bo", "Cem"].map((name) => {
    const chat = connect(proxy.url, { name, timeout: 600, window: 100_000 });
    chats.push(chat);
    const room = chat.join("room", { last: 50 });
    const seqs: number[] = [];
    seen.push(seqs);
    for (const type of ["message", "changed"] as const) room.on(type, ({ seq }) => seqs.push(seq));
    return room;
  });
  const end = Date.now() + SECONDS * 1000;
  const talks = rooms.map((room, index) => talk(room, new Random(seed + 1 + index), end));
  while (Date.now() < end) {
    proxy.faults.push(fault(random));
    await new Promise((resolve) => setTimeout(resolve, random.below(200)));
    if (random.below(3) === 0) proxy.cut();
    if (random.below(8) === 0) {
      await server.kill();
      await server.start();
    }
    // The pauses between attempts would be most of the run.
    for (const chat of chats) if (chat.status === "waiting" && random.below(2)) chat.reconnect();
  }
  proxy.faults.length = 0;
  proxy.cut();
  for (const chat of chats) {
    chat.subscribe(({ status }) => status === "waiting" && queueMicrotask(() => chat.reconnect()));
  }
  const sent = (await Promise.all(talks)).reduce((sum, count) => sum + count, 0);
  const fresh = await readAll(server.url);
  assert.equal(fresh.length, sent, "each message is stored once");
  assert.equal(new Set(fresh.map(({ key }) => key)).size, new Set(fresh.map(({ seq }) => seq)).size);
  const last = Math.max(...seen.flat());
  for (const [index, room] of rooms.entries()) {
    await until(room, ({ status, cursor, pending }) => status === "live" && cursor?.seq === last && !pending.length);
    while (await room.older(200));
    assert.deepEqual(room.state.messages, fresh);
    const seqs = seen[index] as number[];
    const first = seqs[0] ?? 0;
    const expected = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    assert.deepEqual(seqs, expected, "in order and once");
  }
  for (const chat of chats) chat.close();
  console.log(`${adapter}: ${sent} messages over ${proxy.connections} connections`);
}

describe("healing", { concurrency: 2 }, () => {
  for (const adapter of NAMES) {
    test(`after all faults a client of ${adapter} has what a new reader gets (SEED=${SEED})`, () => run(adapter, SEED));
  }
});
