import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { CHROMIUM_ONLY, Person, isFirefox, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start()]);
});
after(() => Promise.all([browser.close(), server.end()]));

/** The rules of WCAG 2.2, levels A and AA, and the common practice. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/**
 * @param {import("playwright-core").Page} page
 * @param {string} view
 */
async function assertAccessible(page, view) {
  if (isFirefox) return;
  // Without animations, because a colour on its way is not the colour of the design.
  const cdp = await page.context().newCDPSession(page);
  // The isolated world of the debugger is not under the policy of the page.
  const { frameTree } = await cdp.send("Page.getFrameTree");
  const { executionContextId: contextId } = await cdp.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  await cdp.send("Runtime.evaluate", { expression: axe, contextId });
  const { result } = await cdp.send("Runtime.evaluate", {
    expression: `axe.run({ runOnly: ${JSON.stringify(TAGS)} }).then(({ violations }) =>
      violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, all }) =>
        id + ": " + target.join(" ") + " " + [...any, ...all].map(({ message }) => message).join("; "))))`,
    awaitPromise: true,
    returnByValue: true,
    contextId,
  });
  assert.deepEqual(result.value, [], view);
}

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
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann", { viewport: { width: 360, height: 640 } });
  await assertAccessible(ann.page, "phone");
  await ann.page.getByRole("button", { name: "Show rooms" }).click();
  await ann.page.getByRole("link", { name: /lobby/ }).waitFor();
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
  await ann.page.keyboard.press("Escape");
  assert.equal(await ann.page.evaluate(() => document.activeElement?.id), "composer");
  await ann.leave();
});
