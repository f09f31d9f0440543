import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible } from "./support/access.mjs";
import { Person, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";
import { Key } from "./support/token.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
const key = new Key();

before(async () => {
  const options = ["--token-secret", key.file, "--guests", "--user-command-rate", "0", "--command-rate", "0"];
  [browser, server] = await Promise.all([launch(), Server.start("tungstenite", options)]);
});
after(async () => {
  await Promise.all([browser.close(), server.end()]);
  key.end();
});

/**
 * @param {string} sub
 * @param {string} name
 * @param {string} room
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
const signIn = (sub, name, room, options) => key.signIn(browser, server.url, sub, name, room, options);

/**
 * The direct room with a user, in the list of rooms.
 *
 * @param {Person} person
 * @param {string} name
 */
const item = ({ page }, name) => page.locator(".room", { hasText: name });

test("a direct message reaches the other user at once, with its author's name, and stays over a restart", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann Park", room);
  const bo = await signIn("u2", "Bo Lee", room);
  await ann.page.getByRole("button", { name: "People: 2" }).click();
  await ann.page.getByRole("button", { name: "Message to Bo Lee" }).click();
  await ann.page.getByRole("heading", { level: 1, name: "Bo Lee" }).waitFor();
  await ann.page.getByRole("textbox", { name: "Message to Bo Lee" }).waitFor();
  await ann.say("only for you");
  await ann.say("and one more");
  await ann.sees("and one more");

  await item(bo, "Ann Park").getByText("2 unread messages").waitFor({ state: "attached" });
  await bo.page.getByText("Direct messages").waitFor();
  await assertAccessible(bo.page, "direct messages in the list");
  assert.match(await bo.page.title(), /^\(2\) /u);
  await item(bo, "Ann Park").getByRole("link").click();
  await bo.sees("only for you");
  await bo.say("thanks");
  await ann.sees("thanks");
  await item(bo, "Ann Park").locator(".badge").waitFor({ state: "detached" });
  assert.deepEqual(await bo.page.locator(".act").count(), 0);
  await assertAccessible(ann.page, "a direct room");

  await server.kill();
  await server.restart();
  await bo.page.reload();
  await bo.page.getByRole("heading", { level: 1, name: "Ann Park" }).waitFor();
  await bo.sees("thanks");
  // A window that has never been in the room knows it by the list.
  const phone = await signIn("u2", "Bo Lee", room, { viewport: { width: 390, height: 760 } });
  await phone.page.getByRole("button", { name: "Show rooms" }).click();
  await item(phone, "Ann Park").getByRole("link").click();
  await phone.sees("and one more");
  for (const person of [ann, bo, phone]) await person.leave();
});

test("the name of an author opens the direct room, which can be removed and opened again", async () => {
  const room = newRoom();
  const cid = await signIn("u3", "Cid", room);
  const dee = await signIn("u4", "Dee", room);
  await cid.say("hello all");
  await dee.sees("hello all");
  await dee.row("hello all").getByRole("button", { name: "Cid" }).click();
  await dee.page.getByRole("heading", { level: 1, name: "Cid" }).waitFor();
  await dee.say("hello Cid");
  await dee.sees("hello Cid");
  await item(cid, "Dee").getByText("1 unread message").waitFor({ state: "attached" });
  await item(cid, "Dee").hover();
  await cid.page.getByRole("button", { name: "Remove Dee from the list" }).click();
  await item(cid, "Dee").waitFor({ state: "detached" });
  await cid.page.reload();
  await cid.sees("hello all");
  assert.equal(await item(cid, "Dee").count(), 0);

  await cid.page.getByRole("button", { name: "People: 2" }).click();
  await cid.page.getByRole("button", { name: "Message to Dee" }).click();
  await cid.sees("hello Cid");
  await cid.page.goto(`${server.url}#${room}`);
  await dee.say("again");
  await item(cid, "Dee").getByText("1 unread message").waitFor({ state: "attached" });
  await cid.leave();
  await dee.leave();
});

test("a guest has no direct rooms, and nobody reads the room of two others", async () => {
  const room = newRoom();
  const ann = await signIn("u5", "Eve", room);
  const guest = await Person.enter(browser, server.url, room, "Fay");
  await guest.page.getByRole("button", { name: "People: 2" }).click();
  assert.equal(await guest.page.getByRole("button", { name: "Message to Eve" }).count(), 0);
  const bo = await signIn("u6", "Gus", room);
  await ann.page.getByRole("button", { name: "People: 3" }).click();
  await ann.page.getByRole("button", { name: "Message to Gus" }).click();
  await ann.page.getByRole("heading", { level: 1, name: "Gus" }).waitFor();
  await ann.say("a secret");
  await ann.sees("a secret");
  const { hash } = new URL(ann.page.url());
  const dee = await signIn("u7", "Hal", room);
  await dee.page.goto(`${server.url}${hash}`);
  await dee.page.getByText("The server does not let you into this room.").waitFor();
  for (const person of [ann, bo, dee, guest]) await person.leave();
});
