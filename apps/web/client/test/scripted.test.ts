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
