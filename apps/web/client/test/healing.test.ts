// Random conversations over connections that break. After the last fault, each client must have exactly what a new
// reader gets. HEAL_SECONDS sets the time for each adapter, SEED repeats a run, ADAPTERS names the adapters.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Chat, connect, type Room, type RoomState, type RoomSummary, type SendOptions } from "@chat-core/client";
import { type Fault, Proxy } from "./support/proxy.js";
import { Random } from "./support/random.js";
import { ADAPTERS, LIFTED, Server } from "./support/server.js";
import { SECRET, signed } from "./support/token.js";
import { until } from "./support/until.js";

/** The users who talk. */
const USERS = ["Ann", "Bo", "Cem"];

/** The number of pins from which no more are set: the server has a limit. */
const MAX_PINS = 20;

const SECONDS = Number(process.env["HEAL_SECONDS"] ?? 3);
const SEED = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);
const NAMES = process.env["ADAPTERS"]?.split(",") ?? ADAPTERS;

/** A token, because a guest who reconnects cannot prove to be the author of its messages. */
const token = (sub: string): string =>
  signed({ sub, name: sub, rooms: { room: "moderator" }, exp: Date.now() / 1000 + 3600 });

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

/**
 * Writes and changes random messages until `end`. Returns the numbers of messages and of edits. The server refuses
 * none of these commands, because ten refusals end a connection for good.
 */
async function talk(room: Room, me: string, random: Random, end: number): Promise<[sent: number, edits: number]> {
  let sent = 0;
  let edits = 0;
  const deleted = new Set<number>();
  const open = new Set<Promise<unknown>>();
  while (Date.now() < end) {
    const mine = room.state.messages.filter(({ seq, user }) => user.id === me && !deleted.has(seq));
    const target = mine.length ? random.pick(mine).seq : 0;
    const command = target ? random.below(8) : 7;
    const done: Promise<unknown> =
      command < 2 ? (edits++, room.edit(target, `edit ${random.below(1000)}`))
      : command === 2 && random.below(3) === 0 ? (deleted.add(target), room.delete(target))
      : command === 3 ? room.react(target, random.pick(["👍", "🎉"]), random.below(3) > 0)
      : command === 4 && random.below(2) === 0 ?
        room.pin(target, random.below(2) > 0 && room.state.pins.length < MAX_PINS)
      : (sent++, room.send(`${room.state.count} ${"x".repeat(random.below(300))}`, links(room, random)));
    if (random.below(4) === 0) room.read(random.below(2) ? room.state.cursor?.seq : room.state.read + 1);
    open.add(done);
    void done.then(() => open.delete(done));
    if (open.size > 4) await Promise.race(open);
    else await new Promise((resolve) => setTimeout(resolve, random.below(20)));
  }
  await Promise.all(open);
  return [sent, edits];
}

/** Returns what a new message refers to: a thread, a message, and users. */
function links(room: Room, random: Random): SendOptions {
  const roots = room.state.messages.filter(({ thread }) => !thread);
  const root = roots.length ? random.pick(roots.slice(-9)).seq : 0;
  return {
    ...(root && random.below(2) && { thread: root }),
    ...(root && random.below(4) === 0 && { reply_to: root }),
    ...(random.below(4) === 0 && { mentions: random.below(4) ? [random.pick(USERS)] : "@room" }),
  };
}

/** Asserts that a client counts what is unread as the server does. */
async function assertUnread(chat: Chat, room: Room): Promise<void> {
  for (let tries = 200; ; tries--) {
    const { read, unread, mentions } = (await chat.request({ type: "rooms" })).rooms[0] as RoomSummary;
    // The newest position is on its way.
    if (read < room.state.read && tries) await new Promise((resolve) => setTimeout(resolve, 50));
    else return assert.deepEqual([room.state.read, room.state.unread, room.state.mentions], [read, unread, mentions]);
  }
}

/** Reads the whole room with a new client. */
async function readAll(url: string): Promise<RoomState> {
  const chat = connect(url, { token: token("Dee") });
  const room = chat.join("room", { last: 20 });
  await until(room, ({ status }) => status === "live");
  while (await room.older(200));
  chat.close();
  return room.state;
}

async function run(adapter: string, seed: number): Promise<void> {
  await using server = await Server.start(adapter, [...LIFTED, ...SECRET]);
  await using proxy = await Proxy.start(() => server.port);
  const random = new Random(seed);
  const chats: Chat[] = [];
  const seen: number[][] = [];
  const edited = new Set<number>();
  const rooms = USERS.map((name) => {
    const chat = connect(proxy.url, { token: token(name), timeout: 600, window: 100_000 });
    chats.push(chat);
    const room = chat.join("room", { last: 50 });
    const seqs: number[] = [];
    seen.push(seqs);
    for (const type of ["message", "changed"] as const) room.on(type, ({ seq }) => seqs.push(seq));
    room.on("changed", ({ what, seq }) => what === "edited" && edited.add(seq));
    return room;
  });
  const end = Date.now() + SECONDS * 1000;
  const talks = rooms.map((room, index) => talk(room, USERS[index] ?? "", new Random(seed + 1 + index), end));
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
  const counts = await Promise.all(talks);
  const sent = counts.reduce((sum, [count]) => sum + count, 0);
  const edits = counts.reduce((sum, [, count]) => sum + count, 0);
  const { messages: fresh, pins } = await readAll(server.url);
  assert.equal(fresh.length, sent, "each message is stored once");
  const keys = fresh.flatMap(({ key, deleted }) => (deleted ? [] : [key]));
  assert.equal(new Set(keys).size, keys.length);
  const last = Math.max(...seen.flat());
  for (const [index, room] of rooms.entries()) {
    await until(room, ({ status, cursor, pending }) => status === "live" && cursor?.seq === last && !pending.length);
    while (await room.older(200));
    assert.deepEqual([room.state.messages, room.state.pins], [fresh, pins]);
    await assertUnread(chats[index] as Chat, room);
    const seqs = seen[index] as number[];
    const first = seqs[0] ?? 0;
    const expected = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
    assert.deepEqual(seqs, expected, "in order and once");
  }
  for (const chat of chats) chat.close();
  // One that was replaced while all clients were away arrives as `superseded`.
  assert.ok(edited.size <= edits, `${edits} edits made ${edited.size} entries`);
  console.log(`${adapter}: ${sent} messages and ${edited.size} of ${edits} edits over ${proxy.connections} connections`);
}

describe("healing", { concurrency: 2 }, () => {
  for (const adapter of NAMES) {
    test(`after all faults a client of ${adapter} has what a new reader gets (SEED=${SEED})`, () => run(adapter, SEED));
  }
});
