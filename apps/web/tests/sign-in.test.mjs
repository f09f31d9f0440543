import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assertAccessible } from "./support/access.mjs";
import { startFront } from "./support/front.mjs";
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

test("a server that takes only tickets says what to do, and admits who comes with the right token", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  const secret = join(folder, "secret");
  writeFileSync(secret, "a-secret-of-an-operator-that-is-long-enough", { mode: 0o600 });
  const server = await Server.start("tungstenite", ["--tickets", "--admin", "127.0.0.1:0", "--admin-token", secret]);
  try {
    const context = await browser.newContext({ locale: "en-GB" });
    const ann = new Person(await context.newPage(), "Ann");
    await ann.page.goto(server.url);
    await ann.page.getByRole("heading", { name: "Sign in elsewhere first" }).waitFor();
    await assertAccessible(ann.page, "a server that takes tickets");
    assert.equal(await ann.page.locator("input").count(), 0);
    // A host service can take tokens that only it knows.
    await ann.page.getByRole("button", { name: "I have a token" }).click();
    await ann.page.getByLabel("Token").fill("not-a-token");
    await ann.page.keyboard.press("Enter");
    await ann.page.getByText("The server does not accept this token.").waitFor();
    await ann.page.getByRole("button", { name: "Cancel" }).click();
    await ann.page.getByRole("heading", { name: "Sign in elsewhere first" }).waitFor();
    await context.close();
  } finally {
    await server.end();
    rmSync(folder, { recursive: true });
  }
});

test("a user whom a proxy has signed in is not asked for a name, and learns the end of the login", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  const secret = join(folder, "secret");
  writeFileSync(secret, "a-secret-of-a-proxy-that-is-long-enough", { mode: 0o600 });
  const options = ["--user-header", "x-user", "--user-name-header", "x-name", "--proxy-secret", secret];
  const server = await Server.start("tungstenite", options);
  const front = await startFront(server.url);
  try {
    const login = { "x-user": "u7", "x-name": "Ann Park", "x-proxy-secret": "a-secret-of-a-proxy-that-is-long-enough" };
    Object.assign(front.added, login);
    const context = await browser.newContext({ locale: "en-GB" });
    const ann = new Person(await context.newPage(), "Ann");
    await ann.page.goto(`${front.url}#${newRoom()}`);
    await ann.page.locator(".me", { hasText: "Ann Park" }).waitFor();
    await ann.say("hello");
    await ann.sees("hello");
    await ann.page.reload();
    await ann.sees("hello");
    await ann.page.getByRole("button", { name: "Settings" }).click();
    await ann.page.getByRole("dialog").waitFor();
    assert.equal(await ann.page.getByRole("button", { name: "Sign out" }).count(), 0);
    await ann.page.keyboard.press("Escape");

    for (const name of Object.keys(login)) delete front.added[name];
    await ann.openHood();
    await ann.page.getByRole("button", { name: "Drop and resume at once" }).click();
    await ann.page.getByText("Your login has ended.").waitFor();
    Object.assign(front.added, login);
    await ann.page.getByRole("button", { name: "Try again" }).click();
    await ann.page.getByRole("button", { name: "Continue as Ann Park" }).click();
    await ann.sees("hello");
    await context.close();
  } finally {
    front.end();
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
