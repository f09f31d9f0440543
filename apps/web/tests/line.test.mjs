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

test("a message written while the line is cut is sent once, and missed messages arrive once", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  const bo = await Person.enter(browser, server.url, room, "Bo");
  await ann.say("before");
  await bo.sees("before");
  await ann.openHood();
  await ann.page.getByRole("button", { name: "Cut the line" }).click();
  await ann.page.getByText("Cut by you").waitFor();
  await bo.say("missed 1");
  await bo.say("missed 2");
  await bo.sees("missed 2");
  await ann.say("written without a line");
  await ann.page.getByText("Waits for the connection").waitFor();
  assert.equal(await ann.row("missed 1").count(), 0);
  await ann.page.locator(".panel").getByRole("button", { name: "Connect again" }).click();
  const texts = ["before", "missed 1", "missed 2", "written without a line"];
  for (const text of texts) {
    await ann.sees(text);
    await bo.sees(text);
  }
  assert.deepEqual(await ann.texts(), texts);
  assert.deepEqual(await bo.texts(), texts);
  await ann.page.getByText("Asked for all after 1: 2 missed entries came.").waitFor();
  assert.deepEqual(await ann.counts(), { received: 4, lost: 0, doubled: 0 });
  await ann.leave();
  await bo.leave();
});

test("changes among the newest messages are no repeats", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await fill(ann, room, Array.from({ length: 60 }, (_, index) => `line ${index}`));
  for (const text of ["line 58", "line 59"]) {
    await ann.sees(text);
    await ann.row(text).hover();
    await ann.row(text).getByRole("button", { name: "React: 👍" }).click();
    await ann.row(text).locator(".reactions").waitFor();
  }
  await ann.page.reload();
  await ann.row("line 59").locator(".reactions").waitFor();
  await ann.openHood();
  // The last 50 messages begin at 11.
  await ann.page.waitForFunction(() => document.querySelector(".numbers dd")?.textContent === "52");
  assert.deepEqual(await ann.counts(), { received: 52, lost: 0, doubled: 0 });
  await ann.leave();
});

test("after kill -9 and a restart in mid-conversation, nothing is lost or doubled", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  const bo = await Person.enter(browser, server.url, room, "Bo");
  const texts = [];
  for (let index = 0; index < 5; index++) {
    texts.push(`ann ${index}`, `bo ${index}`);
    await ann.say(`ann ${index}`);
    await bo.say(`bo ${index}`);
  }
  await server.kill();
  await ann.page.getByText(/No connection|Connecting/).first().waitFor();
  for (let index = 5; index < 8; index++) {
    texts.push(`ann ${index}`, `bo ${index}`);
    await ann.say(`ann ${index}`);
    await bo.say(`bo ${index}`);
  }
  await server.restart();
  for (const text of texts) {
    await ann.sees(text);
    await bo.sees(text);
  }
  assert.deepEqual((await ann.texts()).toSorted(), texts.toSorted());
  assert.deepEqual(await bo.texts(), await ann.texts());
  await ann.openHood();
  assert.deepEqual(await ann.counts(), { received: texts.length, lost: 0, doubled: 0 });
  await ann.leave();
  await bo.leave();
});

test("a page that was offline says so, and continues when the network is back", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  const bo = await Person.enter(browser, server.url, room, "Bo");
  await ann.page.context().setOffline(true);
  // An emulated loss of the network does not end open sockets. The user drops the line.
  await ann.openHood();
  await ann.page.getByRole("button", { name: "Drop and resume at once" }).click();
  await ann.page.locator(".banner").waitFor();
  await bo.say("while Ann is offline");
  await ann.say("written offline");
  await ann.page.context().setOffline(false);
  await ann.sees("while Ann is offline");
  await bo.sees("written offline");
  await ann.page.locator(".banner").waitFor({ state: "detached" });
  await ann.leave();
  await bo.leave();
});

test("a reload keeps the user, the draft and the place in an old part of the room", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  const texts = Array.from({ length: 400 }, (_, index) => `message ${index} ${"and more words ".repeat(index % 9)}`.trim());
  await fill(ann, room, texts);
  await ann.sees(texts[399] ?? "");
  const list = ann.page.locator(".list");
  for (let round = 0; round < 12; round++) {
    await list.evaluate((element) => element.scrollBy(0, -1500));
    await ann.page.waitForTimeout(60);
  }
  await ann.field.fill("a draft");
  const place = () =>
    list.evaluate((element) => {
      const top = element.getBoundingClientRect().top + 60;
      const rows = [...element.querySelectorAll(".row")];
      const row = rows.find((row) => row.getBoundingClientRect().top >= top);
      return { text: row?.textContent, top: Math.round(row?.getBoundingClientRect().top ?? 0) };
    });
  const before = await place();
  assert.ok(!before.text?.includes("message 399"));
  await ann.page.reload();
  await ann.page.locator(".row").first().waitFor();
  await ann.page.waitForTimeout(300);
  const now = await place();
  assert.equal(now.text, before.text);
  assert.ok(Math.abs(now.top - before.top) <= 2, `${before.top} became ${now.top}`);
  assert.equal(await ann.field.inputValue(), "a draft");
  await ann.leave();
});
