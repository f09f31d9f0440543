import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, fill, isFirefox, launch, newRoom } from "./support/person.mjs";
import { Server, isFull } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;
before(async () => {
  const options = ["--durability", "process", "--user-command-rate", "0", "--command-rate", "0", "--reply-rate", "0", "--read-rate", "0"];
  [browser, server] = await Promise.all([launch(), Server.start("tungstenite", options)]);
});
after(() => Promise.all([browser.close(), server.end()]));

const MESSAGES = isFull ? 10_000 : 1_000;

test(`a room of ${MESSAGES} messages scrolls without a jump or a blank, with few rows in the document`, async () => {
  const ann = await Person.enter(browser, server.url, newRoom(), "Ann");
  const room = newRoom();
  for (let sent = 0; sent < MESSAGES; sent += 500) {
    const texts = Array.from({ length: 500 }, (_, index) => `message ${sent + index} ${"some words ".repeat((index * 7) % 13)}`);
    await fill(ann, room, texts);
  }
  await ann.page.goto(`${server.url}#${room}`);
  await ann.page.locator(".text", { hasText: `message ${MESSAGES - 1} ` }).waitFor();
  // Firefox does not tell the time that a page was busy.
  const session = isFirefox ? undefined : await ann.page.context().newCDPSession(ann.page);
  await session?.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async () => {
    const { metrics } = (await session?.send("Performance.getMetrics")) ?? { metrics: [] };
    return (metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0) * 1000;
  };
  const start = await busy();
  const { frames, faults, rows } = await ann.page.evaluate(async () => {
    const list = /** @type {HTMLElement} */ (document.querySelector(".list"));
    const frame = () => new Promise(requestAnimationFrame);
    const faults = [];
    let [frames, rows, idle] = [0, 0, 0];
    // Up to the beginning. Older messages come while the list scrolls.
    while (frames < 6000 && idle < 100) {
      idle = list.scrollTop === 0 ? idle + 1 : 0;
      list.scrollTop -= 400;
      await frame();
      frames++;
      const view = list.getBoundingClientRect();
      const shown = [...list.querySelectorAll(".row")];
      rows = Math.max(rows, shown.length);
      const row = shown.find((row) => row.getBoundingClientRect().top > view.top + 100);
      const [before, text] = [row?.getBoundingClientRect().top ?? NaN, row?.textContent];
      const isBlank = (shown.at(-1)?.getBoundingClientRect().bottom ?? 0) < view.bottom - 40;
      await frame();
      frames++;
      const jump = Math.abs((row?.getBoundingClientRect().top ?? NaN) - before);
      if (isBlank || !(jump <= 1) || row?.isConnected !== true) faults.push({ frames, isBlank, jump, text });
    }
    return { frames, faults, rows };
  });
  const perFrame = ((await busy()) - start) / frames;
  console.log(`${frames} frames, ${perFrame.toFixed(1)} ms CPU each, at most ${rows} rows`);
  await ann.page.locator(".text", { hasText: /^message 0 ?$/ }).waitFor({ state: "attached" });
  assert.deepEqual(faults, []);
  assert.ok(rows < 200, `${rows} rows`);
  await ann.leave();
});
