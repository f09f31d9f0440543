import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { type Chat, ChatError, type ConnectOptions, type Events, type Room, connect } from "@chat-core/client";
import { Proxy } from "./support/proxy.js";
import { Server } from "./support/server.js";
import { SECRET, signed } from "./support/token.js";
import { texts, until } from "./support/until.js";

const cases: [name: string, run: () => Promise<void>][] = [];

/** Adds a test with a server of its own, which ends the clients of the test. */
function withServer(name: string, run: (server: Server, open: Open) => Promise<void>, options?: string[]): void {
  cases.push([name, async () => {
    await using server = await Server.start("tungstenite", options);
    const chats: Chat[] = [];
    try {
      await run(server, (user, more = {}) => {
        const chat = connect(more.url ?? server.url, { ...(user && { name: user }), ...more });
        chats.push(chat);
        return chat;
      });
    } finally {
      for (const chat of chats) chat.close();
    }
  }]);
}

type Open = (user: string, options?: ConnectOptions & { url?: string }) => Chat;

const online = (chat: Chat) => until(chat, ({ status }) => status === "online");
const closed = (chat: Chat) => until(chat, ({ status }) => status === "closed");

withServer("two users talk, and see each other", async (_, open) => {
  const ann = open("Ann").join("Lobby");
  const bo = open("Bo").join("LOBBY");
  await until(ann, ({ members }) => members.map(({ name }) => name).join() === "Ann,Bo");
  await until(bo, ({ status }) => status === "live");
  bo.typing();
  await until(ann, ({ typing }) => typing[0]?.name === "Bo");
  const { seq } = await bo.send("hello");
  const state = await until(ann, ({ messages }) => messages.length === 1);
  assert.deepEqual([state.messages[0]?.seq, state.name, state.unread, state.typing], [seq, "lobby", 1, []]);
  ann.read();
  assert.equal(ann.state.unread, 0);
  bo.leave();
  await until(ann, ({ members, count }) => members.length === 1 && count === 1);
  assert.equal(bo.state.status, "left");
});

withServer("unread messages are counted on each device, and after a return", async (_, open) => {
  const bo = open("Bo").join("lobby");
  const phone = open("Ann").join("lobby");
  const desktop = open("Ann").join("lobby");
  for (const room of [phone, desktop]) await until(room, ({ status }) => status === "live");
  for (let index = 1; index <= 5; index++) await bo.send(`${index}`);
  await phone.send("mine");
  const counts = (room: Room, unread: number) => until(room, (state) => state.unread === unread);
  for (const room of [phone, desktop]) await counts(room, 5);
  phone.read(2);
  phone.read(3);
  phone.read(4);
  await counts(desktop, 1);
  await bo.delete(5);
  for (const room of [phone, desktop]) await counts(room, 0);
  await bo.send("news");
  const later = open("Ann").join("lobby", { last: 1 });
  const { read } = await until(later, ({ status }) => status === "live");
  assert.equal(read, 4);
  await counts(later, 1);
});

withServer("a thread is counted and paged, and mentions are counted", async (_, open) => {
  const ann = open("Ann").join("lobby");
  const { seq: root } = await ann.send("root");
  const bo = open("Bo").join("lobby", { last: 1 });
  await until(bo, ({ status }) => status === "live");
  for (let index = 1; index <= 4; index++) await ann.send(`${index}`, { thread: root, reply_to: root });
  await ann.send("call", { mentions: ["Bo"] });
  const state = await until(bo, ({ mentions }) => mentions === 1);
  const replies = { count: 4, last: root + 4 };
  assert.deepEqual(state.messages[0]?.replies, replies);
  assert.deepEqual((await bo.history({ seqs: [root] })).messages[0]?.replies, replies);
  const page = await bo.history({ thread: root, limit: 2 });
  assert.deepEqual([texts(page), page.more], [["3", "4"], true]);
  await assert.rejects(bo.send("no root", { thread: root + 1 }), { code: "no_message" });
});

withServer("rights follow a mute, and a ban refuses the room", async (_, open) => {
  const token = (sub: string) => signed({ sub, name: sub, exp: Date.now() / 1000 + 600 });
  const owner = open("", { token: token("ann") });
  await owner.request({ type: "create", room: "club" });
  const ann = owner.join("club");
  const bo = open("", { token: token("bo") }).join("club");
  const { may } = await until(bo, ({ status }) => status === "live");
  assert.deepEqual([may?.includes("send"), may?.includes("pin")], [true, false]);
  const { role } = await until(ann, ({ status }) => status === "live");
  assert.equal(role, "owner");
  const { seq } = await bo.send("hello");
  await ann.pin(seq);
  await until(bo, ({ pins }) => pins[0] === seq);
  await owner.request({ type: "restrict", room: "club", user: "bo", what: "mute" });
  await until(bo, (state) => state.may?.includes("send") === false);
  await assert.rejects(bo.send("more"), { code: "muted" });
  await owner.request({ type: "role", room: "club", user: "bo", role: "member" });
  await owner.request({ type: "restrict", room: "club", user: "bo", what: "none" });
  await until(bo, (state) => state.role === "member" && state.may?.includes("send") === true);
  await owner.request({ type: "restrict", room: "club", user: "bo", what: "ban" });
  const { error } = await until(bo, ({ status }) => status === "refused");
  assert.equal(error?.code, "forbidden");
  const later = open("", { token: token("cid") }).join("club", { last: 1 });
  assert.deepEqual((await until(later, ({ status }) => status === "live")).pins, [seq]);
}, SECRET);

withServer("a title and a restriction reach a member, and one who comes later", async (_, open) => {
  const user = (sub: string) => open("", { token: signed({ sub, name: sub, exp: Date.now() / 1000 + 600 }) });
  const [owner, bo] = [user("ann"), user("bo").join("club")];
  await owner.request({ type: "create", room: "team", title: "The team" });
  const end = Date.now() + 60_000;
  const [ann, member] = [owner.join("team"), user("bo").join("team")];
  await until(member, ({ title, restricted }) => title === "The team" && !restricted);
  await ann.send("hello");
  await owner.request({ type: "restrict", room: "team", user: "bo", what: "mute", until: end });
  await until(member, ({ restricted }) => restricted?.until === end);
  await owner.request({ type: "create", room: "team", title: "Our team" });
  await until(member, ({ title }) => title === "Our team");
  // The newest message is all that a later client reads of the log.
  await ann.send("last");
  const later = await until(user("bo").join("team", { last: 1 }), ({ status }) => status === "live");
  assert.deepEqual([later.title, later.restricted, texts(later)], ["Our team", { what: "mute", until: end }, ["last"]]);
  await owner.request({ type: "restrict", room: "team", user: "bo", what: "none" });
  await until(member, ({ restricted, may }) => !restricted && may?.includes("send") === true);
  await owner.request({ type: "follow", room: "team", on: true });
  const { rooms } = await owner.request({ type: "rooms" });
  assert.deepEqual(rooms.map(({ room, title }) => [room, title]), [["team", "Our team"]]);
  assert.equal((await until(bo, ({ status }) => status === "live")).title, undefined);
}, SECRET);

withServer("after a purge, a follower has what a new reader gets", async (_, open) => {
  const user = (sub: string) => open("", { token: signed({ sub, name: sub, exp: Date.now() / 1000 + 600 }) });
  const [owner, bo] = [user("ann"), user("bo").join("club")];
  await until(bo, ({ status }) => status === "live");
  const { seq } = await bo.send("root");
  await bo.send("spam", { mentions: ["ann"] });
  await owner.request({ type: "create", room: "team" });
  const [ann, spammer] = [owner.join("team"), user("bo").join("team")];
  const { seq: root } = await spammer.send("root");
  await ann.send("an answer", { thread: root });
  await spammer.edit(root, "edited");
  await ann.react(root, "👍");
  await ann.pin(root);
  await spammer.send("call", { mentions: ["ann"] });
  await until(ann, ({ mentions }) => mentions === 1);
  const { seq: last = 0 } = await owner.request({ type: "purge", room: "team", user: "bo" });
  await spammer.send("after");
  await until(ann, ({ messages }) => texts({ messages }).at(-1) === "after");
  const fresh = await until(user("cid").join("team"), ({ cursor }) => (cursor?.seq ?? 0) > last);
  assert.deepEqual(ann.state.messages, fresh.messages);
  assert.deepEqual([texts(fresh), ann.state.pins, ann.state.mentions], [[undefined, "an answer", undefined, "after"], [], 0]);
  assert.equal((await bo.history({ seqs: [seq] })).messages.length, 1, "other rooms stay");
}, SECRET);

withServer("a direct room is the same for both users, and is announced to the other one", async (_, open) => {
  const user = (sub: string) => open("", { token: signed({ sub, name: sub, exp: Date.now() / 1000 + 600 }) });
  const [ann, bo, cid] = [user("ann"), user("bo"), user("cid")];
  await online(bo);
  const activity = new Promise<Events["activity"]>((resolve) => bo.on("activity", resolve));
  const room = await ann.direct("bo");
  await room.send("for you");
  const { room: name, with: other } = await activity;
  assert.deepEqual([name, other], [room.name, { id: "ann", name: "ann" }]);
  const { rooms } = await bo.request({ type: "rooms" });
  assert.deepEqual(rooms.map(({ room, with: user }) => [room, user?.id]), [[name, "ann"]]);
  const same = await bo.direct("ann", { last: 10 });
  assert.equal(same.name, name);
  const { role } = await until(same, ({ messages }) => texts({ messages })[0] === "for you");
  assert.equal(role, "member");
  assert.deepEqual(same.state.with, { id: "ann", name: "ann" });
  const { error } = await until(cid.join(name), ({ status }) => status === "refused");
  assert.equal(error?.code, "forbidden");
  await assert.rejects(open("Dee").direct("bo"), { code: "forbidden" });
}, [...SECRET, "--guests"]);

withServer("followed rooms are listed with their unread messages, and announce new ones", async (_, open) => {
  const bo = open("Bo").join("news");
  await bo.send("first");
  const ann = open("Ann");
  await ann.request({ type: "follow", room: "news", on: true });
  const activity = new Promise<{ unread: number }>((resolve) => ann.on("activity", resolve));
  await bo.send("second");
  assert.equal((await activity).unread, 2);
  const { rooms, more } = await ann.request({ type: "rooms" });
  assert.deepEqual([rooms.map(({ room, unread }) => [room, unread]), more], [[["news", 2]], false]);
});

withServer("older pages arrive once for calls at the same time", async (_, open) => {
  const writer = open("Ann").join("lobby");
  await Promise.all(Array.from({ length: 130 }, (_, index) => writer.send(`${index}`)));
  const reader = open("Bo").join("lobby", { last: 10 });
  await until(reader, ({ status, messages }) => status === "live" && messages.length === 10);
  assert.equal(reader.state.more, true);
  assert.deepEqual(await Promise.all([reader.older(60), reader.older(60)]), [true, true]);
  assert.deepEqual(reader.state.messages.length, 70);
  assert.equal(await reader.older(60), false);
  assert.deepEqual(texts(reader.state), Array.from({ length: 130 }, (_, index) => `${index}`));
  assert.deepEqual(texts(await reader.search("129")), ["129"]);
  assert.deepEqual(texts(await reader.history({ after: 3, limit: 2 })), ["3", "4"]);
});

withServer("a window bounds the messages that are held", async (_, open) => {
  const room = open("Ann", { window: 5 }).join("lobby");
  for (let index = 0; index < 8; index++) await room.send(`${index}`);
  await until(room, ({ messages }) => messages.at(-1)?.body?.text === "7");
  assert.deepEqual([texts(room.state), room.state.more], [["3", "4", "5", "6", "7"], true]);
  assert.equal(await room.older(), true, "a full window asks for nothing");
  assert.equal(room.state.messages.length, 5);
});

withServer("messages that were written offline are sent once and in order", async (server, open) => {
  const chat = open("Ann");
  const room = chat.join("lobby");
  await room.send("first");
  await server.kill();
  await until(chat, ({ status }) => status === "waiting");
  const sends = ["a", "b", "c"].map((text) => room.send(text));
  await until(room, ({ pending }) => pending.map(({ state }) => state).join() === "sending,sending,sending");
  await server.start();
  await Promise.all(sends);
  const state = await until(room, ({ pending, status }) => pending.length === 0 && status === "live");
  assert.deepEqual(texts(state), ["first", "a", "b", "c"]);
});

withServer("a message is stored once although its reply was lost", async (server, open) => {
  await using proxy = await Proxy.start(() => server.port);
  const room = open("Ann", { url: proxy.url }).join("lobby");
  await until(room, ({ status }) => status === "live");
  for (let index = 0; index < 3; index++) {
    const sent = room.send(`${index}`);
    await new Promise((resolve) => setTimeout(resolve, index));
    proxy.cut();
    await sent;
  }
  const fresh = open("Bo").join("lobby");
  await until(fresh, ({ status }) => status === "live");
  assert.deepEqual(texts(fresh.state), ["0", "1", "2"]);
  await until(room, ({ status }) => status === "live");
  assert.deepEqual(room.state.messages, fresh.state.messages);
});

withServer("a resume that is cut before its first entry starts at the same cursor", async (server, open) => {
  let port = server.port;
  await using proxy = await Proxy.start(() => port);
  const chat = open("Ann", { url: proxy.url });
  const room = chat.join("lobby");
  const other = open("Bo").join("lobby");
  const { seq } = await other.send("before");
  await until(room, ({ cursor }) => cursor?.seq === seq);
  // Nothing listens on this port, so that the client stays away.
  port = 9;
  proxy.cut();
  await until(chat, ({ status }) => status === "waiting");
  for (let index = 0; index < 20; index++) await other.send(`${index}`);
  // The handshake, the welcome and most of `joined` have about 600 bytes.
  const resumed: unknown[] = [];
  room.on("resumed", (event) => resumed.push(event.after.seq));
  for (let bytes = 560; bytes < 1000; bytes += 40) proxy.faults.push({ kind: "cut", bytes });
  port = server.port;
  chat.reconnect();
  chat.subscribe(({ status }) => status === "waiting" && queueMicrotask(() => chat.reconnect()));
  await until(room, ({ cursor }) => cursor?.seq === seq + 20);
  assert.equal(texts(room.state).join(), ["before", ...Array.from({ length: 20 }, (_, index) => index)].join());
  assert.ok(resumed.filter((after) => after === seq).length > 1, `cut after \`joined\`: ${resumed}`);
});

withServer("a connection on which nothing arrives is noticed by the next command", async (server, open) => {
  await using proxy = await Proxy.start(() => server.port);
  const chat = open("Ann", { url: proxy.url, timeout: 400 });
  const room = chat.join("lobby");
  await until(room, ({ status }) => status === "live");
  proxy.faults.push({ kind: "silence", bytes: 1200 });
  chat.reconnect();
  await Promise.all(Array.from({ length: 10 }, (_, index) => room.send(`${index}`)));
  assert.ok(proxy.connections > 2, "it was replaced");
  const state = await until(room, ({ status, messages }) => status === "live" && messages.length === 10);
  assert.equal(texts(state).join(""), "0123456789");
});

withServer("a lost log is read from its beginning", async (server, open) => {
  const chat = open("Ann");
  const room = chat.join("lobby");
  await Promise.all(["a", "b", "c"].map((text) => room.send(text)));
  await until(room, ({ messages }) => messages.length === 3);
  const { epoch } = room.state.cursor ?? {};
  await server.kill();
  await until(chat, ({ status }) => status !== "online");
  await server.start();
  await until(chat, ({ status }) => status === "online");
  await room.send("new log");
  const state = await until(room, ({ status, cursor }) => status === "live" && cursor?.epoch !== epoch);
  assert.deepEqual([texts(state), state.more], [["new log"], false]);
}, ["--data=:memory:"]);

withServer("what a gap left out is read again, and what is gone is removed", async (server, open) => {
  let port = server.port;
  await using proxy = await Proxy.start(() => port);
  const chat = open("Ann", { url: proxy.url });
  const room = chat.join("lobby");
  const writers = ["Bo", "Cem", "Dee"].map((name) => open(name, { queue: 500 }).join("lobby"));
  for (const writer of writers) await writer.send("old");
  await until(room, ({ messages }) => messages.length === 3);
  // Nothing listens on this port, so that the client stays away.
  port = 9;
  proxy.cut();
  await until(chat, ({ status }) => status === "waiting");
  // A room in memory keeps at most 1 MiB.
  const sends = writers.flatMap((writer) => Array.from({ length: 110 }, () => writer.send("x".repeat(4000))));
  await Promise.all(sends);
  const gaps: number[] = [];
  room.on("gap", ({ from }) => gaps.push(from));
  port = server.port;
  chat.reconnect();
  const state = await until(room, ({ status, cursor }) => status === "live" && cursor?.seq === 333);
  const fresh = open("Eve").join("lobby");
  await until(fresh, ({ status }) => status === "live");
  while (await fresh.older(200));
  assert.deepEqual(gaps, [4]);
  assert.ok(fresh.state.messages.length < 300);
  assert.deepEqual(state.messages, fresh.state.messages);
}, ["--data=:memory:", "--command-rate=0", "--user-command-rate=0", "--reply-rate=0"]);

withServer("a drained server is reconnected to when it advises", async (server, open) => {
  const chat = open("Ann");
  const room = chat.join("lobby");
  await until(room, ({ status }) => status === "live");
  await server.kill("SIGTERM");
  const { retryAt = 0, error } = await until(chat, ({ status }) => status === "waiting");
  assert.ok(retryAt - Date.now() > 1000, "it advises at least 2 s");
  assert.deepEqual([error?.code, error?.details.close], ["restarting", 1012]);
  await server.start();
  await room.send("after");
});

withServer("a refused client learns the reason and stops", async (server, open) => {
  const { error } = await closed(open("a\u202eb"));
  assert.deepEqual([error?.code, error?.details.status], ["bad_name", 400]);
  assert.equal((await closed(connect(server.url.replace("/ws", "/nothing")))).error?.details.status, 404);
});

withServer("a token is asked for each attempt, and a wrong one ends the chat", async (_, open) => {
  let calls = 0;
  const chat = open("", { token: () => `wrong-${++calls}` });
  const { error } = await closed(chat);
  assert.deepEqual([error?.code, calls], ["unauthorized", 1]);
  await assert.rejects(chat.join("lobby").send("x"), { code: "unauthorized" });
}, SECRET);

withServer("a token that does not come is asked for again", async (_, open) => {
  let calls = 0;
  const token = () => (calls++ ? signed({ sub: "ann", exp: Date.now() / 1000 + 600 }) : new Promise<string>(() => {}));
  const chat = open("", { token, timeout: 200 });
  const { error } = await until(chat, ({ status }) => status === "waiting", 3000);
  assert.equal(error?.code, "timeout");
  await online(chat);
  assert.equal(calls, 2);
}, SECRET);

withServer("a server that is full is asked again", async (server, open) => {
  const first = open("Ann");
  await online(first);
  const second = open("Bo");
  const state = await until(second, ({ status }) => status === "waiting");
  assert.deepEqual([state.error?.code, state.error?.details.status], ["overloaded", 503]);
  first.close();
  await online(second);
  assert.ok(server.port);
}, ["--max-connections=1"]);

withServer("a command that came too early is repeated with the same key", async (_, open) => {
  const room = open("Ann").join("lobby");
  await Promise.all(Array.from({ length: 60 }, (_, index) => room.send(`${index}`)));
  await until(room, ({ messages }) => messages.length === 60);
  assert.equal(new Set(room.state.messages.map(({ key }) => key)).size, 60);
  assert.deepEqual(texts(room.state), Array.from({ length: 60 }, (_, index) => `${index}`));
}, ["--command-rate=10"]);

withServer("refused commands are rejected promises with a code", async (_, open) => {
  const chat = open("Ann");
  const bad = chat.join("a b");
  await assert.rejects(bad.send("x"), { code: "bad_room" });
  assert.deepEqual([bad.state.status, bad.state.pending[0]?.state], ["refused", "failed"]);
  const room = chat.join("lobby");
  const { seq } = await room.send("x");
  await assert.rejects(room.pin(seq), (error) => error instanceof ChatError && error.code === "forbidden");
  await assert.rejects(room.edit(seq + 1, "y"), { code: "no_message" });
  await assert.rejects(room.send("x".repeat(20_000)), { code: "too_long" });
  await assert.rejects(room.send(" "), { code: "empty_body" });
  assert.deepEqual(room.state.pending.map(({ state }) => state), ["failed", "failed"]);
  for (const { key } of room.state.pending) room.discard(key);
  assert.equal(room.state.pending.length, 0);
  assert.equal(chat.status, "online");
});

withServer("an edit is made once although its reply was lost", async (_, open) => {
  let losses = 0;
  /** A connection that is lost when the reply to the first change arrives. */
  class Lossy extends WebSocket {
    override set onmessage(listener: WebSocket["onmessage"]) {
      super.onmessage = listener && ((event) => {
        if (losses || !String(event.data).includes(`"type":"done"`)) return listener.call(this, event);
        losses++;
        this.close();
      });
    }
  }
  // A guest who reconnects cannot prove to be the author.
  const token = (sub: string) => signed({ sub, exp: Date.now() / 1000 + 600 });
  const bo = open("", { token: token("bo") }).join("lobby");
  await until(bo, ({ status }) => status === "live");
  const edits: number[] = [];
  bo.on("changed", ({ seq }) => edits.push(seq));
  const chat = open("", { WebSocket: Lossy, token: token("ann") });
  const room = chat.join("lobby");
  const { seq } = await room.send("helo");
  const done = await room.edit(seq, "hello", { rev: seq });
  losses = 0;
  await chat.request({ type: "edit", room: "lobby", seq, body: { text: "Hello" }, rev: seq + 1 });
  assert.equal(losses, 1);
  await room.send("end");
  await until(bo, ({ messages }) => messages.length === 2);
  assert.deepEqual([edits, done.duplicate], [[seq + 1, seq + 2], true]);
}, SECRET);

withServer("what waits for a refused room is not sent", async (_, open) => {
  const chat = open("Ann");
  const room = chat.join("a b");
  // Ten errors would end the connection for good.
  const sends = Array.from({ length: 12 }, (_, index) => room.send(`${index}`));
  const refusals: string[] = [];
  chat.on("error", ({ code }) => refusals.push(code));
  for (const send of sends) await assert.rejects(send, { code: "bad_room" });
  await chat.join("lobby").send("x");
  assert.deepEqual([refusals, chat.status], [["bad_room"], "online"]);
});

withServer("what waits for a room that is left is not sent", async (_, open) => {
  const bo = open("Bo").join("lobby");
  const chat = open("Ann");
  const room = chat.join("lobby");
  await until(room, ({ status }) => status === "live");
  room.leave();
  const sends = Array.from({ length: 4 }, (_, index) => room.send(`${index}`));
  const ends = await Promise.allSettled(sends);
  // The first one was sent before the end.
  assert.deepEqual(ends.slice(1).map((end) => end.status === "rejected" && end.reason.code), ["left", "left", "left"]);
  await chat.join("other").send("x");
  await bo.send("last");
  const state = await until(bo, ({ messages }) => messages.at(-1)?.body?.text === "last");
  assert.deepEqual(texts(state).filter((text) => text !== "0"), ["last"]);
});

withServer("a room that is left before it answers has no member any more", async (_, open) => {
  const reader = open("Bo");
  const bo = reader.join("lobby");
  const chat = open("Ann");
  await online(chat);
  await until(bo, ({ status, count }) => status === "live" && count === 1);
  const room = chat.join("lobby");
  room.leave();
  await until(room, ({ status }) => status === "left");
  // The replies of a connection come in order.
  await chat.request({ type: "ping" });
  const { total } = await reader.request({ type: "members", room: "lobby" });
  assert.equal(total, 1);
  await until(bo, ({ count }) => count === 1);
});

withServer("a message is changed for its author and for others", async (_, open) => {
  const ann = open("Ann").join("lobby");
  const bo = open("Bo").join("lobby");
  await until(bo, ({ status }) => status === "live");
  const { seq } = await ann.send("helo");
  await ann.edit(seq, "hello");
  await bo.react(seq, "👍");
  for (const room of [ann, bo]) {
    const { messages } = await until(room, ({ messages }) => messages[0]?.reactions !== undefined);
    assert.deepEqual([texts(room.state), messages[0]?.reactions?.[0]?.users[0]?.name], [["hello"], "Bo"]);
  }
  await assert.rejects(bo.edit(seq, "mine"), { code: "forbidden" });
  await ann.delete(seq, "a mistake");
  const { messages } = await until(bo, ({ messages }) => messages[0]?.deleted !== undefined);
  assert.deepEqual([messages[0]?.body, messages[0]?.deleted?.reason], [undefined, "a mistake"]);
  const fresh = await bo.history();
  assert.deepEqual(fresh.messages, messages);
});

withServer("a failed message is sent again with its key", async (server, open) => {
  const chat = open("Ann", { queue: 1 });
  const room = chat.join("lobby");
  await until(room, ({ status, members }) => status === "live" && members.length === 1);
  const first = room.send("a");
  await assert.rejects(room.send("b", { key: "kept" }), { code: "queue_full" });
  await first;
  await room.retry("kept");
  const state = await until(room, ({ messages }) => messages.length === 2);
  assert.deepEqual([state.messages[1]?.key, state.pending], ["kept", []]);
  assert.ok(server.port);
});

withServer("listeners are called once for changes that happen together, and snapshots are stable", async (_, open) => {
  const room = open("Ann").join("lobby");
  await until(room, ({ status, members }) => status === "live" && members.length === 1);
  let calls = 0;
  const end = room.subscribe(() => calls++);
  assert.equal(calls, 1, "at once");
  const sends = [room.send("a"), room.send("b")];
  assert.equal(room.state, room.state);
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(calls, 2);
  await Promise.all(sends);
  end();
  const before = calls;
  await room.send("c");
  assert.equal(calls, before);
});

withServer("a room has one membership for all its users, which a remount keeps", async (_, open) => {
  const chat = open("Ann");
  const room = chat.join("lobby");
  await until(room, ({ status }) => status === "live");
  assert.equal(chat.join("LOBBY"), room);
  room.leave();
  room.leave();
  assert.equal(chat.join("lobby"), room);
  await room.send("still here");
  room.leave();
  await until(room, ({ status }) => status === "left");
  assert.equal(chat.rooms.size, 0);
});

withServer("another network is tried at once", async (server, open) => {
  await using proxy = await Proxy.start(() => server.port);
  const browser = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"] as const) {
    Object.defineProperty(globalThis, name, { value: browser[name].bind(browser), configurable: true });
  }
  const chat = open("Ann", { url: proxy.url });
  await online(chat);
  const port = server.port;
  server.port = 9;
  proxy.cut();
  // The waits grow, so that the fourth one can have several seconds.
  for (let failures = 0; failures < 4; failures++) {
    await until(chat, ({ status }) => status === "waiting");
    chat.reconnect();
    await until(chat, ({ status }) => status === "connecting");
  }
  await until(chat, ({ status }) => status === "waiting");
  server.port = port;
  browser.dispatchEvent(new Event("online"));
  assert.ok((chat.state.retryAt ?? Infinity) <= Date.now());
  await online(chat);
});

withServer("a token that is about to expire is renewed on the same connection", async (_, open) => {
  let calls = 0;
  const ends: (number | undefined)[] = [];
  const token = () => signed({ sub: "ann", name: "Ann", exp: Date.now() / 1000 + (calls++ ? 600 : 30) });
  const chat = open("", { token });
  await new Promise<void>((resolve) =>
    chat.on("welcome", (event) => ends.push(event.expires_at) === 2 && resolve()),
  );
  assert.ok((ends[1] ?? 0) - (ends[0] ?? 0) > 500_000, `${ends}`);
  assert.deepEqual([chat.state.user?.id, chat.status, calls], ["ann", "online", 2]);
}, SECRET);

withServer("an expired token ends the chat, unless there is a newer one", async (_, open) => {
  const token = signed({ sub: "ann", exp: Date.now() / 1000 + 2 });
  const { error } = await closed(open("", { token }));
  assert.deepEqual([error?.code, error?.details.close], ["token_expired", 4005]);
}, SECRET);

cases.push(["only a refusal by a chat server ends the chat", async () => {
  let status = 200;
  let body = "";
  const server = createServer((_, response) => response.writeHead(status).end(body)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const chat = connect(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`);
  const refusal = (code: unknown) => JSON.stringify({ error: { code, message: "no" } });
  // Login pages of networks, proxies and their clouds.
  for (status of [200, 403, 404, 511, 520, 530]) {
    for (body of ["<html>", "null", refusal(status)]) {
      chat.reconnect();
      const { error } = await until(chat, (state) => state.status !== "connecting");
      assert.deepEqual([chat.status, error?.details.status ?? status], ["waiting", status]);
    }
  }
  for ([status, body] of [[429, refusal("too_many_connections")], [503, refusal("overloaded")]] as const) {
    chat.reconnect();
    const { error } = await until(chat, (state) => state.status !== "connecting");
    assert.deepEqual([chat.status, error?.details.status], ["waiting", status]);
  }
  [status, body] = [403, refusal("bad_origin")];
  chat.reconnect();
  assert.equal((await closed(chat)).error?.code, "bad_origin");
  server.close();
}]);

// Each test waits most of its time, and has a server of its own.
describe("client", { concurrency: 4 }, () => {
  for (const [name, run] of cases) test(name, run);
});
