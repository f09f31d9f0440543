import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { chromium, firefox } from "playwright-core";

/** Root needs the first flag. The others keep the browser from asking hosts of its maker. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** True if the tests run in Firefox, and the option of a test that needs the protocol of Chromium's tools. */
export const isFirefox = process.env["BROWSER"] === "firefox";
export const CHROMIUM_ONLY = { skip: isFirefox && "needs the protocol of Chromium's tools" };

/**
 * Starts a browser: Chromium, or with `BROWSER=firefox` Firefox. With `PAGE_DIST=1`, scripts and styles come from `dist`, without a new build of the binaries. The
 * document still comes from the server, because Chromium lets only a document from this machine connect to it.
 */
export async function launch() {
  const browser =
    isFirefox
      ? await firefox.launch({ channel: "moz-firefox", executablePath: process.env["FIREFOX"] ?? "/usr/bin/firefox-esr" })
      : await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: FLAGS });
  const open = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await open(options);
    // Each person looks at a window. In Chromium, each window has the focus; in Firefox, only the newest one.
    if (isFirefox) await context.addInitScript(() => void (document.hasFocus = () => true));
    if (process.env["PAGE_DIST"] !== "1") return context;
    await context.route(/^http:\/\/[^/]+\/(?:app|icon)-\w+\.\w+$/u, async (route) => {
      const file = new URL(route.request().url()).pathname.slice(1).replace(/-\w+/u, "");
      const type = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" }[file.split(".")[1] ?? ""];
      const body = await readFile(new URL(`../../page/dist/${file}`, import.meta.url));
      await route.fulfill({ body, contentType: `${type}; charset=utf-8` });
    });
    return context;
  };
  return browser;
}

let rooms = 0;

/** A name that no other room has, and that is in no other name. */
export const newRoom = () => `room-${process.pid}-${`${++rooms}`.padStart(3, "0")}`;

/** One person in a window of its own. */
export class Person {
  /** @type {string[]} */
  problems = [];

  /**
   * @param {import("playwright-core").Page} page
   * @param {string} name
   */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.setDefaultTimeout(15_000);
    const note = (/** @type {string} */ text) => {
      // Browsers write this for each attempt to connect without a server.
      if (!/ERR_|WebSocket connection to|can’t establish a connection|was interrupted while/u.test(text)) this.problems.push(text);
    };
    page.on("pageerror", (error) => note(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") note(message.text());
    });
  }

  /**
   * Opens the page and signs in.
   *
   * @param {import("playwright-core").Browser} browser
   * @param {string} url
   * @param {string} room
   * @param {string} name
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  static async enter(browser, url, room, name, options = {}) {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const person = new Person(await context.newPage(), name);
    await person.enter(url, room);
    return person;
  }

  /**
   * Opens the page and signs in, in a window that is prepared.
   *
   * @param {string} url
   * @param {string} room
   */
  async enter(url, room) {
    await this.page.goto(`${url}#${encodeURIComponent(room)}`);
    await this.page.locator("input").fill(this.name);
    await this.page.keyboard.press("Enter");
    await this.page.locator(".list-window").waitFor({ state: "attached" });
  }

  get field() {
    return this.page.locator("#composer");
  }

  /** @param {string} text */
  async say(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  /**
   * A row whose text is exactly this.
   *
   * @param {string} text
   */
  row(text) {
    return this.page.locator(".row", { has: this.page.locator(".text", { hasText: exactly(text) }) });
  }

  /**
   * Waits until a message is stored and shown.
   *
   * @param {string} text
   */
  async sees(text) {
    await this.row(text).locator(".message:not(.sending)").waitFor();
  }

  /** The texts in the document, from the top. */
  async texts() {
    return this.page.locator(".row .text").allInnerTexts();
  }

  async openHood() {
    // A page that was loaded again does not listen to keys before it shows a room.
    await this.page.locator(".main h1").waitFor();
    await this.page.keyboard.press("Control+.");
    await this.page.getByRole("heading", { name: "Under the hood" }).waitFor();
  }

  /** The counts of the panel "Under the hood". */
  async counts() {
    const [received, lost, doubled] = await this.page.locator(".numbers dd").allInnerTexts();
    return { received: Number(received), lost: Number(lost), doubled: Number(doubled) };
  }

  async leave() {
    await this.page.context().close();
    assert.deepEqual(this.problems, [], `the console of ${this.name}`);
  }
}

/** @param {string} text */
function exactly(text) {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&")}$`, "u");
}

/**
 * Fills a room over sockets of its own.
 *
 * @param {Person} person
 * @param {string} room
 * @param {readonly string[]} texts
 * @param {object} [links]
 */
export async function fill(person, room, texts, links = {}) {
  await person.page.evaluate(
    async ({ room, texts, links }) => {
      const socket = new WebSocket(`${location.origin}/ws?name=Filler`, "chat.v1");
      await new Promise((resolve) => socket.addEventListener("open", resolve));
      let open = texts.length;
      const done = new Promise((resolve) =>
        socket.addEventListener("message", ({ data }) => {
          if (data.startsWith('{"type":"sent"') && --open === 0) resolve(undefined);
        }),
      );
      socket.send(JSON.stringify({ type: "join", room }));
      texts.forEach((text, index) =>
        socket.send(JSON.stringify({ type: "send", ref: String(index), room, body: { text }, ...links })),
      );
      await done;
      socket.close();
    },
    { room, texts, links },
  );
}
