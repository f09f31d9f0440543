import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "@chat-core/client";
import { scripted } from "./support/script.js";
import { until } from "./support/until.js";

const room = "lobby";
const user = { id: "bo", name: "Bo" };
const message = (seq: number, more: object = {}) =>
  ({ type: "message", room, seq, user, at: 1000 + seq, body: { text: `${seq}` }, ...more });
const joined = { type: "joined", room, epoch: "a", seq: 2, first: 1, recovered: true, members: 1, presence: "each" };

test("a user who comes while a page is on its way is counted once", async () => {
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref }, emit) => {
      if (type === "join") emit({ ...joined, ref }, message(2));
      if (type !== "history") return;
      const history = { type: "history", ref, room, epoch: "a", messages: [message(1)], more: false };
      emit({ type: "presence", room, user, state: "joined" }, history);
    }),
  });
  const lobby = chat.join(room, { last: 1, members: false });
  await until(lobby, ({ status }) => status === "live");
  await lobby.older();
  assert.deepEqual([lobby.state.messages.length, lobby.state.count], [2, 2]);
  chat.close();
});

test("the newest messages are asked for again if the connection ends before the first", async () => {
  const joins: unknown[] = [];
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref, last, after }, emit) => {
      if (type !== "join") return;
      joins.push({ last, after });
      emit({ ...joined, ref, seq: 9 });
      if (joins.length === 1) return chat.reconnect();
      // The newest message has got many changes.
      emit(message(3));
      for (let seq = 4; seq < 10; seq++) emit({ type: "changed", room, seq, at: 1, by: user, target: 3, what: "superseded" });
    }),
  });
  const lobby = chat.join(room, { last: 1, members: false });
  const { messages, cursor } = await until(lobby, ({ status }) => status === "live");
  assert.deepEqual(messages.map(({ seq }) => seq), [3]);
  assert.deepEqual(cursor, { epoch: "a", seq: 9 });
  assert.deepEqual(joins, [{ last: 1, after: undefined }, { last: 1, after: undefined }]);
  chat.close();
});

test("pins follow from the messages, and end with their log", async () => {
  const pinned = { type: "changed", room, seq: 3, at: 2000, by: user, target: 2, what: "pinned", pinned: true };
  let joins = 0;
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref }, emit) => {
      if (type === "ping") emit(message(4));
      if (type !== "join") return;
      if (joins++) emit({ ...joined, ref, epoch: "b", seq: 0 });
      else emit({ ...joined, ref }, message(1, { rev: 1, pinned: true }), message(2), pinned);
    }),
  });
  const lobby = chat.join(room, { members: false });
  const { pins } = await until(lobby, ({ cursor }) => cursor?.seq === 3);
  assert.deepEqual(pins, [1, 2]);
  void chat.request({ type: "ping" }).catch(() => {});
  const { pins: same } = await until(lobby, ({ cursor }) => cursor?.seq === 4);
  assert.equal(same, pins, "the same array");
  chat.reconnect();
  const state = await until(lobby, ({ cursor, status }) => cursor?.epoch === "b" && status === "live");
  assert.deepEqual(state.pins, []);
  chat.close();
});

test("a room is joined again only after the end of its membership, also if that came too early", async () => {
  const commands: unknown[] = [];
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref }, emit) => {
      if (type === "send") return emit({ type: "sent", ref, room, seq: 3, at: 2000 });
      if (type !== "join" && type !== "leave") return;
      commands.push(type);
      if (type === "join") emit({ ...joined, ref }, message(1), message(2));
      else if (commands.length > 2) emit({ type: "left", ref, room });
      else emit({ type: "error", ref, room, code: "rate_limited", message: "", retry_after_ms: 20 });
    }),
  });
  const before = chat.join(room, { members: false });
  await until(before, ({ status }) => status === "live");
  before.leave();
  await until(before, ({ status }) => status === "left");
  await chat.join(room, { members: false }).send("still here");
  assert.deepEqual(commands, ["join", "leave", "leave", "join"]);
  chat.close();
});

test("one report at a time tells the server what was read, also after a loss", async () => {
  const reports: unknown[] = [];
  let stored = 0;
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref, seq }, emit) => {
      if (type === "join") emit({ ...joined, ref, seq: 9, read: stored, unread: 9 - stored }, message(9));
      if (type !== "read") return;
      reports.push(seq);
      // The reply to the first report is lost.
      if (reports.length === 1) return chat.reconnect();
      stored = Number(seq);
      emit({ type: "read", ref, room, user: { id: "ann", name: "Ann" }, seq });
    }),
  });
  const lobby = chat.join(room, { last: 1, members: false });
  const { unread } = await until(lobby, ({ status }) => status === "live");
  assert.equal(unread, 9);
  lobby.read(3);
  assert.equal(lobby.state.read, 3);
  await until(lobby, ({ status }) => status === "resuming");
  await until(lobby, ({ status }) => status === "live");
  assert.equal(lobby.state.read, 3, "what was read stays read");
  for (const seq of [4, 6, 9]) lobby.read(seq);
  while (stored < 9) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(reports, [3, 3, 9]);
  chat.close();
});

test("a server without markers is not told what was read", async () => {
  const commands: unknown[] = [];
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref }, emit) => {
      commands.push(type);
      if (type === "join") emit({ ...joined, ref }, message(1), message(2), message(3));
      if (type === "ping") emit({ type: "pong", ref });
    }),
  });
  const lobby = chat.join(room, { members: false });
  await until(lobby, ({ cursor }) => cursor?.seq === 3);
  assert.equal(lobby.state.unread, 1, "what came after the join");
  lobby.read();
  assert.equal(lobby.state.unread, 0);
  await chat.request({ type: "ping" });
  assert.deepEqual(commands, ["join", "ping"]);
  chat.close();
});

test("rights are asked for again when they may have changed, and a removal refuses the room", async () => {
  const me = { id: "ann", name: "Ann" };
  const role = (seq: number, who: object, more: object) =>
    ({ type: "role", room, seq, at: 1, by: user, user: who, ...more });
  const joins: unknown[] = [];
  const chat = connect("ws://localhost/ws", {
    WebSocket: scripted(({ type, ref, last }, emit) => {
      if (type === "join") {
        joins.push(last);
        const may = joins.length > 1 ? ["delete"] : ["send", "delete"];
        emit({ ...joined, ref, role: "none", may }, ...(last ? [message(1), role(2, me, { role: "member" })] : []));
      }
      if (type !== "ping") return;
      emit({ type: "pong", ref });
      if (joins.length > 1) emit(role(5, me, { role: "none", restricted: { what: "ban" } }), { type: "left", room });
      else emit(role(3, user, { role: "owner" }), role(4, me, { role: "none", restricted: { what: "mute" } }));
    }),
  });
  const lobby = chat.join(room, { members: false });
  const { may } = await until(lobby, ({ status }) => status === "live");
  assert.deepEqual([may, joins], [["send", "delete"], [50]], "those of a replay are known");
  await chat.request({ type: "ping" });
  await until(lobby, (state) => state.may?.length === 1);
  assert.deepEqual([lobby.state.cursor?.seq, lobby.state.status, joins.length], [4, "live", 2]);
  await chat.request({ type: "ping" });
  const { error } = await until(lobby, ({ status }) => status === "refused");
  assert.equal(error?.code, "forbidden");
  chat.close();
});
