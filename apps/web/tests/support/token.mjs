import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Person } from "./person.mjs";
import { binary } from "./server.mjs";

/** @param {string[]} options */
const task = (...options) => execFileSync(binary("tungstenite"), ["token", ...options], { encoding: "utf8" }).trim();

/** A key of its own, and the tokens that it signs. */
export class Key {
  #folder = mkdtempSync(join(tmpdir(), "chat-key-"));
  file = join(this.#folder, "key");

  constructor() {
    task("--new-key", this.file);
  }

  /**
   * @param {string} sub
   * @param {string} name
   */
  token(sub, name) {
    return task("--key", this.file, "--sub", sub, "--name", name);
  }

  /**
   * Opens the page of a server that also admits guests, as a user with a token.
   *
   * @param {import("playwright-core").Browser} browser
   * @param {string} url
   * @param {string} sub
   * @param {string} name
   * @param {string} room
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  async signIn(browser, url, sub, name, room, options = {}) {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const person = new Person(await context.newPage(), name);
    await this.enter(person, url, sub, room);
    return person;
  }

  /**
   * Signs in, in a window that is prepared.
   *
   * @param {Person} person
   * @param {string} url
   * @param {string} sub
   * @param {string} room
   */
  async enter(person, url, sub, room) {
    const { page, name } = person;
    await page.goto(`${url}#${room}`);
    // In each language.
    await page.locator(".other-way").click();
    await page.locator("input[type=password]").fill(this.token(sub, name));
    await page.keyboard.press("Enter");
    await page.locator(".me", { hasText: name }).waitFor({ state: "attached" });
  }

  end() {
    rmSync(this.#folder, { recursive: true });
  }
}
