// A browser, and a server that takes tokens and guests, for the tests of the file that imports this one. Node runs each
// file of tests in a process of its own.
import { after, before } from "node:test";
import { launch } from "./person.mjs";
import { Server } from "./server.mjs";
import { Key } from "./token.mjs";

/** @type {import("playwright-core").Browser} */
export let browser;
/** @type {Server} */
export let server;
export const key = new Key();

before(async () => {
  const options = ["--token-secret", key.file, "--guests", "--user-command-rate", "0", "--command-rate", "0"];
  [browser, server] = await Promise.all([launch(), Server.start("tungstenite", options)]);
});
after(async () => {
  await Promise.all([browser.close(), server.end()]);
  key.end();
});

/**
 * Opens the page as a user with a token.
 *
 * @param {string} sub
 * @param {string} name
 * @param {string} room
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export const signIn = (sub, name, room, options) => key.signIn(browser, server.url, sub, name, room, options);
