import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAccessible } from "./support/access.mjs";
import { Person, newRoom } from "./support/person.mjs";
import { browser, key, server, signIn } from "./support/users.mjs";

/**
 * The direct room with a user, in the list of rooms.
 *
 * @param {Person} person
 * @param {string} name
 */
const item = ({ page }, name) => page.locator(".room", { hasText: name });

/**
 * Removes the direct room with a user from the list.
 *
 * @param {Person} person
 * @param {string} name
 */
async function remove(person, name) {
  await item(person, name).hover();
  await person.page.getByRole("button", { name: `Remove ${name} from the list` }).click();
  await item(person, name).waitFor({ state: "detached" });
}

/**
 * Waits until the page has asked for the list again. The panel "Under the hood" is open.
 *
 * @param {Person} person
 */
async function refresh({ page }) {
  const answers = page.locator(".frames li", { hasText: "↓ rooms" });
  const before = await answers.count();
  await page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
  await answers.nth(before).waitFor();
}

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
  await bo.page.waitForFunction(() => document.title.startsWith("(2) "));
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

test("the name of an author opens the direct room, which comes back after a removal", async () => {
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
  await remove(cid, "Dee");
  await cid.page.reload();
  await cid.sees("hello all");
  await cid.openHood();
  await cid.page.locator(".frames li", { hasText: "↓ rooms" }).waitFor();
  assert.equal(await item(cid, "Dee").count(), 0);
  // The next message shows it again: at once, and to a page that was not open.
  await dee.say("are you there?");
  await item(cid, "Dee").getByText("2 unread messages").waitFor({ state: "attached" });
  await remove(cid, "Dee");
  await cid.page.goto("about:blank");
  await dee.say("and now?");
  await dee.sees("and now?");
  await cid.page.goto(`${server.url}#${room}`);
  await item(cid, "Dee").getByText("3 unread messages").waitFor({ state: "attached" });

  // So does its address.
  await remove(cid, "Dee");
  await cid.page.goto("about:blank");
  await cid.page.goto(`${server.url}${new URL(dee.page.url()).hash}`);
  await cid.sees("hello Cid");
  await item(cid, "Dee").waitFor();
  await cid.page.goto(`${server.url}#${room}`);
  await cid.page.reload();
  await cid.sees("hello all");
  await item(cid, "Dee").waitFor();

  await remove(cid, "Dee");
  await cid.page.getByRole("button", { name: "People: 2" }).click();
  await cid.page.getByRole("button", { name: "Message to Dee" }).click();
  await cid.sees("hello Cid");
  await cid.page.goto(`${server.url}#${room}`);
  await dee.say("again");
  await item(cid, "Dee").getByText("1 unread message").waitFor({ state: "attached" });
  await cid.leave();
  await dee.leave();
});

test("a removal holds in each window where the room is not open, until the next message", async () => {
  const room = newRoom();
  const ida = await signIn("u8", "Ida", room);
  const jo = await signIn("u9", "Jo", room);
  await ida.page.getByRole("button", { name: "People: 2" }).click();
  await ida.page.getByRole("button", { name: "Message to Jo" }).click();
  await ida.page.getByRole("heading", { level: 1, name: "Jo" }).waitFor();
  await ida.say("one");
  await item(jo, "Ida").getByRole("link").click();
  await jo.sees("one");
  const { hash } = new URL(jo.page.url());
  await jo.page.goto(`${server.url}#${room}`);
  const other = new Person(await jo.page.context().newPage(), "Jo");
  await key.enter(other, server.url, "u9", room);
  await other.page.goto(`${server.url}${hash}`);
  await other.sees("one");
  await other.openHood();
  await remove(jo, "Ida");
  await refresh(other);
  assert.equal(await item(other, "Ida").count(), 1);
  await other.page.goto(`${server.url}#${room}`);
  await refresh(other);
  await item(other, "Ida").waitFor({ state: "detached" });
  await ida.say("two");
  for (const person of [jo, other]) await item(person, "Ida").getByText("1 unread message").waitFor({ state: "attached" });

  // A removal before the list has arrived does not end that either.
  /** @type {() => void} */
  let answer = () => {};
  const answered = new Promise((resolve) => (answer = () => resolve(undefined)));
  await other.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((data) => {
      if (JSON.parse(String(data)).type !== "rooms") return socket.send(data);
      void answered.then(() => socket.send(data));
    });
  });
  await other.page.reload();
  await other.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const list = other.page.locator(".room");
  assert.equal(await list.count(), 2);
  await list.nth(1).hover();
  await list.nth(1).getByRole("button").click();
  await list.nth(1).waitFor({ state: "detached" });
  await other.openHood();
  answer();
  await refresh(other);
  assert.equal(await list.count(), 1);
  await ida.say("three");
  for (const person of [jo, other]) await item(person, "Ida").getByText("2 unread messages").waitFor({ state: "attached" });
  await other.page.close();

  // A browser that keeps nothing knows of a removal as long as the page is open.
  await jo.page.addInitScript(() => Object.defineProperty(window, "localStorage", { value: null }));
  await jo.page.reload();
  await jo.openHood();
  await remove(jo, "Ida");
  await refresh(jo);
  assert.equal(await item(jo, "Ida").count(), 0);
  await ida.say("four");
  await item(jo, "Ida").getByText("3 unread messages").waitFor({ state: "attached" });
  for (const person of [ida, jo]) await person.leave();
  assert.deepEqual(other.problems, []);
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
  for (const person of [dee, guest]) {
    await person.page.goto(`${server.url}${hash}`);
    await person.page.getByText(/^This room is for members only/u).waitFor();
    // It stays in the list until it is removed.
    await person.openHood();
    await refresh(person);
    await remove(person, hash.slice(1));
    await refresh(person);
    await refresh(person);
    assert.equal(await item(person, hash.slice(1)).count(), 0);
  }
  for (const person of [ann, bo, dee, guest]) await person.leave();
});
