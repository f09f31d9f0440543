import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CHROMIUM_ONLY, Person, fill, launch, newRoom } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start("tungstenite", ["--user-command-rate", "0", "--command-rate", "0"])]);
});
after(() => Promise.all([browser.close(), server.end()]));

test("Enter during a composition chooses a syllable and sends nothing", CHROMIUM_ONLY, async () => {
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
  const input = await ann.page.context().newCDPSession(ann.page);
  await ann.field.focus();
  await input.send("Input.imeSetComposition", { text: "한", selectionStart: 1, selectionEnd: 1 });
  // The browser marks the key as part of the composition: isComposing, and key code 229.
  await input.send("Input.dispatchKeyEvent", { type: "rawKeyDown", key: "Enter", code: "Enter", windowsVirtualKeyCode: 229 });
  await ann.field.dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true });
  assert.equal(await ann.page.locator(".row").count(), 0);
  await input.send("Input.insertText", { text: "한" });
  await ann.field.press("Enter");
  await ann.sees("한");
  assert.deepEqual(await ann.texts(), ["한"]);
  await ann.leave();
});

const HOSTILE = [
  "<script>window.hacked = 1</script>",
  "<img src=x onerror='window.hacked=1'>",
  "<svg/onload=window.hacked=1>",
  "javascript:window.hacked=1//https://x.example",
  "https://x.example/\"onmouseover=\"window.hacked=1",
  "[click](javascript:alert(1)) data:text/html,<script>alert(1)</script>",
  "&lt;b&gt; &amp; {{constructor.constructor('window.hacked=1')()}} ${window.hacked=1}",
  '"><iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
  "\u202Eevil\u202C \u2066x\u2069 ‏עברית‏ and العربية together",
  "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301 Z̸͔͝a̷l̶g̴o̵ 👩‍👩‍👧‍👦🏴‍☠️🇰🇷",
  "W".repeat(2000),
];

test("text of users is only ever text", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await ann.page.evaluate(() => {
    // A violation of the policy would show that markup came into the document.
    document.addEventListener("securitypolicyviolation", () => Object.assign(window, { violated: true }));
  });
  await fill(ann, room, HOSTILE);
  await ann.page.locator(".row").nth(HOSTILE.length - 1).waitFor({ state: "attached" });
  const shown = await ann.page.locator(".row .text").evaluateAll((texts) => texts.map((text) => text.textContent));
  assert.deepEqual(shown, HOSTILE);
  assert.equal(await ann.page.locator(".text :not(a)").count(), 0);
  for (const href of await ann.page.locator(".text a").evaluateAll((links) => links.map((link) => link.getAttribute("href")))) {
    assert.match(href ?? "", /^https:\/\/x\.example\//);
  }
  assert.equal(await ann.page.evaluate(() => "hacked" in window || "violated" in window), false);
  const isWide = await ann.page.locator(".list").evaluate((list) => list.scrollWidth > list.clientWidth);
  assert.equal(isWide, false, "a long word does not make the list wider");
  await ann.leave();
});

test("a refused message stays with its reason until it is discarded", async () => {
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
  // The filler U+3164 is not a visible character for the server.
  await ann.say("\u3164");
  await ann.page.locator(".delivery.bad").waitFor();
  await ann.page.getByRole("button", { name: "Discard" }).click();
  await ann.page.locator(".row").waitFor({ state: "detached" });
  await ann.leave();
});

test("unread messages of another room are counted, and a line shows where they begin", async () => {
  const [first, second] = [newRoom(), newRoom()];
  const ann = await Person.enter(browser, server.url, first, "Ann");
  await ann.say("hello");
  await ann.sees("hello");
  await ann.page.getByRole("button", { name: "Join a room" }).click();
  await ann.page.getByLabel("Room name").fill(` ${second.toUpperCase()} `);
  await ann.page.keyboard.press("Enter");
  await ann.page.getByRole("heading", { level: 1, name: second }).waitFor();
  await fill(ann, first, ["one", "two", "three"]);
  const item = ann.page.locator(".room", { hasText: first });
  await item.getByText("3 unread messages").waitFor({ state: "attached" });
  // The server counts them, so that they survive a reload and are the same on another device.
  await ann.page.reload();
  await item.getByText("3 unread messages").waitFor({ state: "attached" });
  const other = await Person.enter(browser, server.url, second, "Ann");
  await other.page.evaluate((room) => void (location.hash = room), first);
  await other.row("one").locator(".fresh").waitFor();
  await item.locator(".badge").waitFor({ state: "detached" });
  await other.leave();
  await fill(ann, first, ["four"]);
  await item.getByText("1 unread message").waitFor({ state: "attached" });
  await item.getByRole("link").click();
  await ann.row("four").locator(".fresh").waitFor();
  await item.locator(".badge").waitFor({ state: "detached" });
  await ann.leave();
});

test("a user who opens a room for the first time sees its end, and has nothing unread there", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
  await fill(ann, room, Array.from({ length: 80 }, (_, index) => `line ${index}`));
  await ann.page.evaluate((room) => void (location.hash = room), room);
  await ann.sees("line 79");
  const item = ann.page.locator(".room", { hasText: room });
  await item.locator(".badge").waitFor({ state: "detached" });
  assert.equal(await ann.page.locator(".fresh").count(), 0);
  await ann.leave();
});

test("a search jumps to a message far back, and the way to the present is complete", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, server.url, room, "Ann");
  await fill(ann, room, Array.from({ length: 600 }, (_, index) => (index === 40 ? "the needle" : `straw ${index}`)));
  await ann.sees("straw 599");
  await ann.page.keyboard.press("Control+k");
  await ann.page.getByRole("searchbox").fill("needle");
  await ann.page.locator(".results a").click();
  await ann.row("the needle").locator(".target").waitFor();
  assert.match(ann.page.url(), /:41$/);
  assert.equal(await ann.row("straw 599").count(), 0);
  await ann.page.getByRole("button", { name: /To the newest messages/ }).click();
  await ann.sees("straw 599");
  await ann.leave();
});
