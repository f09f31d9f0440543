import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "@chat-core/client";
import { openPage, submit, untilText } from "./support/page.js";
import { Server } from "./support/server.js";
import { until } from "./support/until.js";

test("the React example joins once in StrictMode, shows changes, and leaves", async () => {
  await using server = await Server.start();
  const document = openPage("<main></main>");
  const { show } = await import("../../examples/react/app.js");
  const other = connect(server.url, { name: "Bo" });
  const room = other.join("lobby");
  await until(room, ({ status, members }) => status === "live" && members.length === 1);
  const presences: string[] = [];
  room.on("presence", ({ state }) => presences.push(state));

  const element = document.querySelector("main") as HTMLElement;
  const { chat, root } = show(element, server.url, "Lobby");
  const joins: number[] = [];
  chat.on("joined", ({ seq }) => joins.push(seq));
  await untilText(element, "live, Bo, visitor-");
  await room.send("hello");
  await untilText(element, "hello");
  await submit(element, "hi");
  await untilText(element, "hi");
  await until(room, ({ messages }) => messages.at(-1)?.body?.text === "hi");
  assert.deepEqual(joins, [0]);
  assert.equal(chat.rooms.size, 1);

  root.unmount();
  await until(room, ({ members }) => members.length === 1);
  assert.deepEqual(presences, ["joined", "left"]);
  assert.equal(chat.rooms.size, 0);
  chat.close();
  other.close();
});
