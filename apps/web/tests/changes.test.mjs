import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, fill, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start("tungstenite", ["--user-command-rate", "0", "--command-rate", "0"])]);
});
after(() => Promise.all([browser.close(), server.end()]));

test("an edit that is saved or cancelled gives the draft back", async () => {
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
  await ann.say("helo");
  await ann.sees("helo");
  await ann.field.fill("a draft");
  const edit = async (/** @type {string} */ text) => {
    await ann.row(text).hover();
    await ann.row(text).getByRole("button", { name: "Edit" }).click();
    await ann.page.getByText("Edit your message").waitFor();
    assert.equal(await ann.field.inputValue(), text);
  };
  await edit("helo");
  await ann.field.press("Escape");
  await ann.page.getByText("Edit your message").waitFor({ state: "detached" });
  assert.equal(await ann.field.inputValue(), "a draft");
  await edit("helo");
  await ann.say("hello");
  await ann.sees("hello");
  // The reply to the edit comes after the edited message.
  await ann.page.getByText("Edit your message").waitFor({ state: "detached" });
  assert.equal(await ann.field.inputValue(), "a draft");
  await ann.leave();
});

test("the text of a refused edit stays, with the reason", async () => {
  const context = await browser.newContext({ locale: "en-GB" });
  const ann = new Person(await context.newPage(), "Ann");
  /** @type {(() => void)[]} */
  const waiting = [];
  let isRefusing = true;
  await ann.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((data) => {
      const { type, ref } = JSON.parse(String(data));
      if (type !== "edit" || !isRefusing) return server.send(data);
      waiting.push(() => socket.send(JSON.stringify({ type: "error", ref, code: "too_late", message: "too late" })));
    });
  });
  await ann.enter(server.url, newRoom());
  await ann.say("helo");
  await ann.sees("helo");
  await ann.field.fill("a draft");
  const edit = async () => {
    await ann.row("helo").hover();
    await ann.row("helo").getByRole("button", { name: "Edit" }).click();
  };
  const refuse = async () => {
    while (waiting.length === 0) await ann.page.waitForTimeout(10);
    waiting.shift()?.();
  };
  const reason = ann.page.locator("#composer-note", { hasText: "Not saved. It is too late to edit this message." });
  await edit();
  await ann.say("hello");
  await ann.page.locator("#composer[readonly]").waitFor();
  await refuse();
  await reason.waitFor();
  assert.equal(await ann.field.inputValue(), "hello");
  // A user who does not wait for the reply finds the text when the message is edited again.
  await ann.say("Hello");
  await ann.page.locator("#composer[readonly]").press("Escape");
  assert.equal(await ann.field.inputValue(), "a draft");
  await refuse();
  await ann.page.locator(".notice", { hasText: "It is too late to edit this message." }).waitFor();
  assert.equal(await ann.field.inputValue(), "a draft");
  await edit();
  await reason.waitFor();
  assert.equal(await ann.field.inputValue(), "Hello");
  isRefusing = false;
  await ann.field.press("Enter");
  await ann.sees("Hello");
  await ann.page.getByText("Edit your message").waitFor({ state: "detached" });
  assert.equal(await ann.field.inputValue(), "a draft");
  await ann.leave();
});

test("the eleventh user can take a reaction back", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await ann.say("popular");
  await ann.sees("popular");
  await ann.page.evaluate(async (room) => {
    for (let index = 0; index < 10; index++) {
      const socket = new WebSocket(`${location.origin}/ws?name=Fan${index}`, "chat.v1");
      await new Promise((resolve) => socket.addEventListener("open", resolve));
      const done = new Promise((resolve) =>
        socket.addEventListener("message", ({ data }) => {
          if (data.startsWith('{"type":"done"')) resolve(undefined);
        }),
      );
      socket.send(JSON.stringify({ type: "join", room }));
      socket.send(JSON.stringify({ type: "react", ref: "1", room, seq: 1, reaction: "👍", on: true }));
      await done;
      socket.close();
    }
  }, room);
  const chip = ann.row("popular").locator(".chip");
  await chip.getByText("10").waitFor();
  assert.equal(await chip.getAttribute("aria-pressed"), "false");
  await chip.click();
  await ann.row("popular").locator(".chip[aria-pressed=true]", { hasText: "11" }).waitFor();
  await chip.click();
  await ann.row("popular").locator(".chip[aria-pressed=false]", { hasText: "10" }).waitFor();
  await ann.leave();
});

test("a room that keeps no changes offers none after the first refusal", async () => {
  const room = newRoom();
  const context = await browser.newContext({ locale: "en-GB" });
  const ann = new Person(await context.newPage(), "Ann");
  await ann.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((data) => {
      const { type, ref } = JSON.parse(String(data));
      if (type === "react") socket.send(JSON.stringify({ type: "error", ref, code: "unsupported", message: "no changes" }));
      else server.send(data);
    });
  });
  await ann.enter(server.url, room);
  await ann.say("plain");
  await ann.sees("plain");
  await ann.row("plain").hover();
  await ann.row("plain").getByRole("button", { name: "React: 👍" }).click();
  await ann.row("plain").getByRole("button", { name: "React: 👍" }).waitFor({ state: "detached" });
  const labels = await ann.row("plain").locator(".toolbar button").evaluateAll((buttons) => buttons.map((button) => button.ariaLabel));
  assert.deepEqual(labels, ["Copy text", "Copy link"]);
  await ann.leave();
});

test("the page stays alive when older messages cannot come, because the chat has ended", async () => {
  const room = newRoom();
  const context = await browser.newContext({ locale: "en-GB" });
  const ann = new Person(await context.newPage(), "Ann");
  let end = () => {};
  await ann.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    end = () => {
      void socket.close({ code: 4503, reason: "kicked" });
      void server.close();
    };
  });
  await ann.enter(server.url, room);
  await fill(ann, room, Array.from({ length: 600 }, (_, index) => `line ${index}`));
  await ann.page.reload();
  await ann.sees("line 599");
  end();
  await ann.page.getByText("You were removed from this chat.").waitFor();
  await ann.page.locator(".list").evaluate((list) => list.scrollTo(0, 0));
  await ann.page.waitForTimeout(300);
  assert.ok(await ann.page.getByText("Loading older messages…").isVisible());
  // A tab that is busy without end does not answer.
  await ann.page.getByRole("button", { name: "Settings" }).click({ timeout: 5000 });
  await ann.leave();
});
