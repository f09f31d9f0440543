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

test("a server with tokens asks for one, says that another one is wrong, and knows the user", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  const key = join(folder, "key");
  /** @param {string[]} options */
  const token = (...options) => execFileSync(binary("tungstenite"), ["token", ...options], { encoding: "utf8" }).trim();
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
