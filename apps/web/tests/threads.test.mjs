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

/**
 * Uses a button of the toolbar of a message.
 *
 * @param {Person} person
 * @param {string} text
 * @param {string} action
 */
async function act(person, text, action) {
  const row = person.page.locator(".main .row", { has: person.page.getByText(text, { exact: true }) }).last();
  await row.hover();
  await row.getByRole("button", { name: action, exact: true }).click();
}

test("a reply shows a line of its message, which leads there", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await ann.say("a question");
  await ann.sees("a question");
  await act(ann, "a question", "Reply");
  await ann.page.getByText("Reply to Ann").waitFor();
  await ann.say("an answer");
  await ann.row("an answer").locator(".quote", { hasText: "a question" }).waitFor();
  await fill(ann, room, Array.from({ length: 150 }, (_, index) => `line ${index}`));
  await ann.say("the end");
  await ann.sees("the end");
  await act(ann, "the end", "Reply");
  await ann.say("again");
  await ann.row("again").locator(".quote").click();
  await ann.row("the end").locator(".target").waitFor();
  await ann.leave();
});

test("a thread has its messages, its count, and a text field of its own", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  const bo = await Person.enter(browser, server.url, room, "Bo");
  await ann.say("root");
  await ann.sees("root");
  // Only a window in front has a focused field.
  await ann.page.bringToFront();
  await act(ann, "root", "Thread");
  const panel = ann.page.getByRole("complementary", { name: "Thread" });
  const field = panel.getByLabel("Reply in the thread");
  await field.waitFor();
  await ann.page.locator("#thread-composer:focus").waitFor();
  await field.fill("first");
  await field.press("Enter");
  await panel.locator(".message:not(.sending) .text", { hasText: /^first$/u }).waitFor();
  await ann.say("beside");
  await bo.sees("beside");
  await bo.page.getByRole("button", { name: "1 reply" }).click();
  const other = bo.page.getByRole("complementary", { name: "Thread" });
  await other.getByLabel("Reply in the thread").fill("second");
  await other.getByLabel("Reply in the thread").press("Enter");
  await panel.getByText("second", { exact: true }).waitFor();
  for (const side of [panel, other]) assert.deepEqual(await side.locator(".text").allInnerTexts(), ["root", "first", "second"]);
  for (const person of [ann, bo]) await person.page.getByRole("button", { name: "2 replies" }).waitFor();

  // The keyboard: from the field to the messages and back, then out of the panel.
  await field.focus();
  await field.press("ArrowUp");
  assert.match(String(await panel.locator(".row:focus").innerText()), /second/u);
  await ann.page.keyboard.press("ArrowDown");
  await ann.page.keyboard.press("Escape");
  await panel.waitFor({ state: "detached" });

  // In the conversation, a message of a thread names it. A reply to it stays in the thread.
  await ann.row("second").getByRole("button", { name: /Open the thread: .*root/u }).click();
  await panel.waitFor();
  await act(ann, "second", "Reply");
  await ann.say("third");
  await panel.getByText("third", { exact: true }).waitFor();
  await ann.page.getByRole("button", { name: "3 replies" }).waitFor();
  await ann.leave();
  await bo.leave();
});

test("a thread loads its older messages, also those that the room does not hold", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await ann.say("root");
  await ann.sees("root");
  await ann.page.evaluate(async (room) => {
    const socket = new WebSocket(`${location.origin}/ws?name=Filler`, "chat.v1");
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    socket.send(JSON.stringify({ type: "join", room }));
    const texts = Array.from({ length: 120 }, (_, index) => `reply ${index}`);
    const done = new Promise((resolve) =>
      socket.addEventListener("message", ({ data }) => data.includes('"ref":"last"') && resolve(undefined)),
    );
    texts.forEach((text, index) =>
      socket.send(
        JSON.stringify({ type: "send", room, thread: 1, body: { text }, ...(index === 119 && { ref: "last" }) }),
      ),
    );
    await done;
    socket.close();
  }, room);
  await ann.page.reload();
  await ann.sees("reply 119");
  await ann.row("reply 119").hover();
  await ann.row("reply 119").getByRole("button", { name: "Thread", exact: true }).click();
  const panel = ann.page.getByRole("complementary", { name: "Thread" });
  await panel.getByText("root", { exact: true }).waitFor();
  while (await panel.getByRole("button", { name: "Older replies" }).isVisible()) {
    await panel.getByRole("button", { name: "Older replies" }).click().catch(() => undefined);
    await ann.page.waitForTimeout(50);
  }
  const texts = await panel.locator(".text").allInnerTexts();
  assert.deepEqual(texts, ["root", ...Array.from({ length: 120 }, (_, index) => `reply ${index}`)]);
  await ann.leave();
});

test("a name is completed after an @, and the mentioned user sees it", async () => {
  const [room, other] = [newRoom(), newRoom()];
  const bo = await Person.enter(browser, server.url, room, "Bo Lee");
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await ann.page.getByRole("button", { name: "People: 2" }).waitFor();
  await ann.field.pressSequentially("hello @b");
  await ann.page.getByRole("option", { name: "Bo Lee" }).waitFor();
  await ann.field.press("Enter");
  assert.equal(await ann.field.inputValue(), "hello @Bo Lee ");
  await ann.field.pressSequentially("how are you?");
  await ann.field.press("Enter");
  const row = bo.page.locator(".message.for-me");
  await row.locator(".me-mention", { hasText: "@Bo Lee" }).waitFor();

  // A mention in another room is marked in the list of rooms.
  await bo.page.evaluate((room) => void (location.hash = room), other);
  await bo.page.getByRole("heading", { level: 1, name: other }).waitFor();
  await ann.say("@Bo Lee 님, 여기요");
  await ann.say("nobody@bo is no mention");
  const item = bo.page.locator(".room", { hasText: room });
  await item.getByText("2 unread messages, 1 of them mentions you").waitFor({ state: "attached" });
  await item.locator(".badge.mentioned").waitFor();
  await ann.leave();
  await bo.leave();
});
