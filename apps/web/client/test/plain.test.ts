import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { connect } from "@chat-core/client";
import { openPage, submit, untilText } from "./support/page.js";
import { Server } from "./support/server.js";
import { until } from "./support/until.js";

test("the plain example talks to another client", async () => {
  await using server = await Server.start();
  const document = openPage(readFileSync("../examples/plain/index.html", "utf8").replace(/<script.*<\/script>/gs, ""));
  document.body.dataset["url"] = server.url;
  await import("../../examples/plain/main.js");
  await untilText(document.body, "live, 1 here");
  const chat = connect(server.url, { name: "Bo" });
  const room = chat.join("lobby");
  await until(room, ({ status }) => status === "live");
  await submit(document, "<b>hello</b>");
  const { messages } = await until(room, ({ messages }) => messages.length === 1);
  assert.equal(messages[0]?.body?.text, "<b>hello</b>");
  await room.send("welcome");
  await untilText(document.body, "Bo: welcome");
  assert.equal(document.querySelectorAll("li").length, 2);
  assert.equal(document.querySelectorAll("b").length, 0, "user text is only text");
  chat.close();
});
