import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, fill, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
});
after(() => Promise.all([browser.close(), server.end()]));

/**
 * Waits until the list has these rooms.
 *
 * @param {Person} person
 * @param {readonly string[]} rooms
 */
const lists = ({ page }, rooms) =>
  page.waitForFunction(
    (rooms) => [...document.querySelectorAll(".rooms bdi")].map(({ textContent }) => textContent).join() === rooms,
    rooms.join(),
  );

/**
 * Goes to a room by its address.
 *
 * @param {Person} person
 * @param {string} room
 */
async function go(person, room) {
  await person.page.evaluate((room) => void (location.hash = room), room);
  await person.page.locator(".bar h1", { hasText: room }).waitFor();
}

/**
 * @param {Person} person
 * @param {string} room
 */
async function remove(person, room) {
  const button = person.page.getByRole("button", { name: `Remove ${room} from the list` });
  await person.page.locator(".room", { hasText: room }).hover();
  await button.click();
  await button.waitFor({ state: "detached" });
}

test("a room that is removed from the list stays away, also after a reload, and can come back", async () => {
  const [first, second, third] = [newRoom(), newRoom(), newRoom()];
  const ann = await Person.enter(browser, server.url, first, "Ann");
  await ann.say("in the first room");
  await ann.sees("in the first room");
  await go(ann, second);
  await go(ann, third);
  await lists(ann, [first, second, third]);

  // The room that is shown, then another one.
  await remove(ann, third);
  await ann.page.locator(".bar h1", { hasText: first }).waitFor();
  await remove(ann, second);
  await lists(ann, [first]);
  await ann.page.reload();
  await ann.page.locator("#composer").waitFor();
  await lists(ann, [first]);

  await go(ann, second);
  await go(ann, first);
  await ann.sees("in the first room");
  await lists(ann, [first, second]);
  await ann.leave();
});

test("the list of a user is the same on another device and after a crash, with what is unread", async () => {
  const [first, second, third] = [newRoom(), newRoom(), newRoom()];
  const phone = await Person.enter(browser, server.url, first, "Cid");
  await phone.say("hello");
  await phone.sees("hello");
  await go(phone, second);
  await phone.page.getByText("This is the beginning of the room.").or(phone.page.locator(".intro")).first().waitFor();
  await fill(phone, first, ["one", "two"]);
  await fill(phone, first, ["@Cid three"], { mentions: ["Cid"] });

  // A browser that knows nothing of these rooms, and is in none of them.
  const desktop = await Person.enter(browser, server.url, third, "Cid");
  const item = (/** @type {Person} */ person) => person.page.locator(".room", { hasText: first });
  for (const person of [phone, desktop]) {
    await item(person).getByText("3 unread messages, 1 of them mentions you").waitFor({ state: "attached" });
  }
  await lists(desktop, [first, second, third]);
  // New messages arrive there too, although it is not in the room, and what is read is read on both.
  await fill(phone, first, ["four"]);
  await item(desktop).getByText("4 unread messages").waitFor({ state: "attached" });
  await desktop.page.waitForFunction(() => document.title.startsWith("(4) "));
  await server.kill();
  await server.restart();
  await desktop.page.reload();
  await item(desktop).getByText("4 unread messages").waitFor({ state: "attached" });
  await item(phone).getByRole("link").click();
  await phone.row("one").locator(".fresh").waitFor();
  await item(desktop).locator(".badge").waitFor({ state: "detached" });
  await phone.leave();
  await desktop.leave();
});

test("what a user has read stays read over a reload at once", async () => {
  const [first, second] = [newRoom(), newRoom()];
  const ann = await Person.enter(browser, server.url, first, "Dee");
  for (const text of ["one", "two", "three"]) {
    await fill(ann, first, [text]);
    await ann.sees(text);
  }
  // The report of the first one is less than a second old, so the others are not reported yet.
  await ann.page.goto(`${server.url}#${second}`);
  await ann.page.reload();
  await ann.page.locator("#composer").waitFor();
  await go(ann, first);
  await ann.sees("three");
  assert.equal(await ann.page.locator(".fresh").count(), 0);
  await ann.leave();
});

test("a tab that visits many rooms leaves the first ones, and still knows what is unread there", async () => {
  const all = Array.from({ length: 23 }, newRoom);
  const [first = ""] = all;
  const ann = await Person.enter(browser, server.url, first, "Eve");
  for (const room of all) await go(ann, room);
  await ann.page.waitForFunction(() => document.querySelectorAll(".room").length === 23);
  const bo = await Person.enter(browser, server.url, first, "Bo");
  await bo.page.getByRole("button", { name: "People: 1" }).waitFor();
  await bo.say("one");
  await ann.page.locator(".room", { hasText: first }).getByText("1 unread message").waitFor({ state: "attached" });
  await go(ann, first);
  await ann.sees("one");
  await bo.page.getByRole("button", { name: "People: 2" }).waitFor();
  await ann.leave();
  await bo.leave();
});

test("without a list on the server, the browser keeps one, and the tab is in each room", async () => {
  const [first, second] = [newRoom(), newRoom()];
  const context = await browser.newContext({ locale: "en-GB" });
  const ann = new Person(await context.newPage(), "Fay");
  await ann.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((data) => {
      const { type, ref } = JSON.parse(String(data));
      if (type !== "rooms" && type !== "follow") return server.send(data);
      socket.send(JSON.stringify({ type: "error", ref, code: "unsupported", message: "no list" }));
    });
  });
  await ann.enter(server.url, first);
  await go(ann, second);
  await ann.page.getByRole("button", { name: `Remove ${first} from the list` }).waitFor({ state: "attached" });
  await lists(ann, ["lobby", first, second]);
  await ann.page.reload();
  await ann.page.locator("#composer").waitFor();
  await lists(ann, ["lobby", first, second]);
  await fill(ann, first, ["one"]);
  await ann.page.locator(".room", { hasText: first }).getByText("1 unread message").waitFor({ state: "attached" });
  await remove(ann, "lobby");
  await ann.page.reload();
  await ann.page.locator("#composer").waitFor();
  await ann.page.locator(".room", { hasText: first }).waitFor();
  await lists(ann, [first, second]);
  await context.close();
});
