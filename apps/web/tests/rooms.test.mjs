import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
});
after(() => Promise.all([browser.close(), server.end()]));

test("a room that is removed from the list stays away, also after a reload, and can come back", async () => {
  const [first, second] = [newRoom(), newRoom()];
  const ann = await Person.enter(browser, server.url, first, "Ann");
  await ann.say("in the first room");
  await ann.page.goto(`${server.url}#${second}`);
  await ann.page.locator(".bar h1", { hasText: second }).waitFor();
  const rooms = () => ann.page.locator(".rooms bdi").allInnerTexts();
  assert.deepEqual(await rooms(), ["lobby", first, second]);

  // The room that is shown, then another one.
  const remove = (/** @type {string} */ room) => ann.page.getByRole("button", { name: `Remove ${room} from the list` });
  await ann.page.locator(".room", { hasText: second }).hover();
  await remove(second).click();
  await ann.page.locator(".bar h1", { hasText: "lobby" }).waitFor();
  assert.deepEqual(await rooms(), ["lobby", first]);
  await ann.page.locator(".room", { hasText: first }).hover();
  await remove(first).click();
  await remove(first).waitFor({ state: "detached" });
  assert.deepEqual(await rooms(), ["lobby"]);
  await ann.page.reload();
  await ann.page.locator("#composer").waitFor();
  assert.deepEqual(await rooms(), ["lobby"]);

  await ann.page.evaluate((room) => void (location.hash = room), first);
  await ann.sees("in the first room");
  assert.deepEqual(await rooms(), ["lobby", first]);
  await ann.leave();
});
