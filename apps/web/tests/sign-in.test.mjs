import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Person, launch, newRoom } from "./support/person.mjs";
import { Server, binary } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** @param {string[]} options */
const token = (...options) => execFileSync(binary("tungstenite"), ["token", ...options], { encoding: "utf8" }).trim();

test("a server with tokens asks for one, says that another one is wrong, and knows the user", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  const key = join(folder, "key");
  token("--new-key", key);
  const server = await Server.start("tungstenite", ["--token-secret", key]);
  try {
    const context = await browser.newContext({ locale: "en-GB" });
    const ann = new Person(await context.newPage(), "Ann");
    await ann.page.goto(`${server.url}#${newRoom()}`);
    await ann.page.getByLabel("Token").fill("not-a-token");
    await ann.page.keyboard.press("Enter");
    await ann.page.getByText("The server does not accept this token.").waitFor();
    await ann.page.getByLabel("Token").fill(token("--key", key, "--sub", "u1", "--name", "Ann Park"));
    await ann.page.keyboard.press("Enter");
    await ann.page.locator(".me", { hasText: "Ann Park" }).waitFor();
    await ann.say("hello");
    await ann.sees("hello");
    await context.close();
  } finally {
    await server.end();
    rmSync(folder, { recursive: true });
  }
});

test("a server with tokens that also admits guests asks for a name, and offers to take a token", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  const key = join(folder, "key");
  token("--new-key", key);
  const server = await Server.start("tungstenite", ["--token-secret", key, "--guests"]);
  try {
    const room = newRoom();
    const bo = await Person.enter(browser, server.url, room, "Bo");
    await bo.say("from a guest");
    const context = await browser.newContext({ locale: "en-GB" });
    const ann = new Person(await context.newPage(), "Ann");
    await ann.page.goto(`${server.url}#${room}`);
    await ann.page.getByRole("button", { name: "I have a token" }).click();
    await ann.page.getByLabel("Token").fill(token("--key", key, "--sub", "u1", "--name", "Ann Park"));
    await ann.page.keyboard.press("Enter");
    await ann.page.locator(".me", { hasText: "Ann Park" }).waitFor();
    await ann.sees("from a guest");
    await ann.leave();
    await bo.leave();
  } finally {
    await server.end();
    rmSync(folder, { recursive: true });
  }
});

test("who signs out leaves no draft and no place in the tab", async () => {
  const server = await Server.start();
  try {
    const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
    await ann.say("hello");
    await ann.sees("hello");
    await ann.field.fill("a secret draft");
    const kept = () => ann.page.evaluate(() => Object.keys(sessionStorage));
    assert.equal((await kept()).filter((key) => key.startsWith("chat.draft.")).length, 1);
    await ann.page.getByRole("button", { name: "Settings" }).click();
    await ann.page.getByRole("button", { name: "Sign out" }).click();
    await ann.page.getByLabel("Name").waitFor();
    assert.deepEqual(await kept(), []);
    await ann.leave();
  } finally {
    await server.end();
  }
});
