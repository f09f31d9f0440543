import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible } from "./support/access.mjs";
import { CHROMIUM_ONLY, Person, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
});
after(() => Promise.all([browser.close(), server.end()]));

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`axe finds no violation, ${colorScheme}`, CHROMIUM_ONLY, async () => {
    const options = { colorScheme, reducedMotion: /** @type {const} */ ("reduce") };
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const page = await context.newPage();
    await page.goto(server.url);
    await page.getByLabel("Name").waitFor();
    await assertAccessible(page, "sign-in");
    await context.close();

    const ann = await Person.enter(browser, server.url, newRoom(), "Ann", options);
    await assertAccessible(ann.page, "an empty room");
    await ann.say("Hello, see https://example.com");
    await ann.sees("Hello, see https://example.com");
    await ann.row("Hello, see https://example.com").hover();
    await assertAccessible(ann.page, "a message with its actions");
    await ann.openHood();
    await ann.page.getByRole("button", { name: "Cut the line" }).click();
    await ann.say("waits");
    await assertAccessible(ann.page, "under the hood, line cut");
    await ann.page.locator(".panel").getByRole("button", { name: "Connect again" }).click();
    await ann.sees("waits");
    await ann.page.keyboard.press("Control+k");
    await ann.page.getByRole("searchbox").fill("hello");
    await ann.page.locator(".results a").waitFor();
    await assertAccessible(ann.page, "search");
    await ann.page.getByRole("button", { name: /^People/ }).click();
    await assertAccessible(ann.page, "people");
    await ann.row("waits").hover();
    await ann.row("waits").getByRole("button", { name: "Thread", exact: true }).click();
    const field = ann.page.locator("#thread-composer");
    await field.fill("a reply");
    await field.press("Enter");
    await ann.page.getByRole("button", { name: "1 reply" }).waitFor();
    const bo = await Person.enter(browser, server.url, decodeURIComponent(new URL(ann.page.url()).hash.slice(1)), "Bo");
    await bo.say("@Ann hello");
    await ann.page.locator(".me-mention").waitFor();
    await field.pressSequentially("@");
    await ann.page.getByRole("option", { name: "Bo" }).waitFor();
    await assertAccessible(ann.page, "a thread, a mention, and names to mention");
    await field.press("Escape");
    await bo.leave();
    await ann.page.keyboard.press("Control+/");
    await assertAccessible(ann.page, "shortcuts");
    await ann.page.keyboard.press("Escape");
    await ann.page.getByRole("button", { name: "Settings" }).click();
    await assertAccessible(ann.page, "settings");
    await ann.page.getByLabel("한국어").check();
    await ann.page.keyboard.press("Escape");
    assert.equal(await ann.page.locator("html").getAttribute("lang"), "ko");
    await assertAccessible(ann.page, "Korean");
    await ann.leave();
  });
}

test("a phone shows one pane at a time, and everything is reachable by keyboard", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann", { viewport: { width: 360, height: 640 } });
  await assertAccessible(ann.page, "phone");
  await ann.page.getByRole("button", { name: "Show rooms" }).click();
  await ann.page.getByRole("link", { name: room }).waitFor();
  await assertAccessible(ann.page, "phone, rooms");
  await ann.page.keyboard.press("Escape");
  await ann.say("first");
  await ann.say("second");
  await ann.sees("second");
  assert.equal(await ann.page.evaluate(() => document.documentElement.scrollWidth), 360);
  await ann.field.focus();
  await ann.page.keyboard.press("ArrowUp");
  const focused = () => ann.page.evaluate(() => document.activeElement?.querySelector(".text")?.textContent);
  assert.equal(await focused(), "second");
  await ann.page.keyboard.press("ArrowUp");
  assert.equal(await focused(), "first");
  await ann.page.keyboard.press("Tab");
  assert.equal(await ann.page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "React: 👍");
  const list = await ann.page.locator(".list").boundingBox();
  const tools = await ann.page.locator(".row:focus-within .toolbar").boundingBox();
  assert.ok(list && tools && tools.x >= list.x && tools.x + tools.width <= list.x + list.width && tools.y >= list.y);
  await ann.page.keyboard.press("Escape");
  assert.equal(await ann.page.evaluate(() => document.activeElement?.id), "composer");
  await ann.leave();
});
