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
  const { frames, faults, rows, times } = await ann.page.evaluate(async () => {
    const list = /** @type {HTMLElement} */ (document.querySelector(".list"));
    const faults = [];
    /** @type {number[]} */
    const times = [];
    let last = performance.now();
    const frame = async () => {
      const now = await new Promise(requestAnimationFrame);
      times.push(now - last);
      last = now;
    };
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
    return { frames, faults, rows, times: times.sort((a, b) => a - b) };
  });
  const perFrame = ((await busy()) - start) / frames;
  const [half, most, longest] = [0.5, 0.99, 1].map((part) => times[Math.ceil(part * times.length) - 1]?.toFixed(0));
  console.log(`${frames} frames, ${isFirefox ? "" : `${perFrame.toFixed(1)} ms CPU each, `}at most ${rows} rows`);
  console.log(`a frame after ${half} ms in the median, 99 % within ${most} ms, all within ${longest} ms`);
  await ann.page.locator(".text", { hasText: /^message 0 ?$/ }).waitFor({ state: "attached" });
  assert.deepEqual(faults, []);
  assert.ok(rows < 200, `${rows} rows`);
  await ann.leave();
});

test("the first message stays in place when older ones come, although it loses its day and its name", async () => {
  const room = newRoom();
  const context = await browser.newContext({ locale: "en-GB" });
  const ann = new Person(await context.newPage(), "Ann");
  let isHeld = false;
  /** @type {(() => void)[]} */
  const held = [];
  await ann.page.routeWebSocket(/\/ws/u, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((data) => {
      const pass = () => server.send(data);
      if (isHeld && JSON.parse(String(data)).type === "history") held.push(pass);
      else pass();
    });
  });
  await ann.enter(server.url, room);
  await fill(ann, room, Array.from({ length: 90 }, (_, index) => `message ${index}`));
  // The view would begin at the first message that the server does not know as read.
  await ann.page.evaluate(async (room) => {
    const socket = new WebSocket(`${location.origin}/ws?name=Ann`, "chat.v1");
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    await new Promise((resolve) => {
      socket.addEventListener("message", ({ data }) => {
        const { type, read, seq } = JSON.parse(data);
        if ((type === "joined" && read === 90) || (type === "read" && seq === 90)) resolve(undefined);
      });
      socket.send(JSON.stringify({ type: "join", room }));
    });
    socket.close();
  }, room);
  isHeld = true;
  await ann.page.reload();
  await ann.sees("message 89");
  await ann.page.locator(".list").evaluate((list) => list.scrollTo(0, 0));
  const first = ann.row("message 40").locator(".text");
  await first.waitFor();
  assert.equal(await ann.row("message 40").locator(".author").count(), 1);
  const before = await first.boundingBox();
  assert.ok(held.length > 0);
  for (const pass of held) pass();
  await ann.row("message 39").waitFor({ state: "attached" });
  assert.equal(await ann.row("message 40").locator(".author").count(), 0);
  const moved = ((await first.boundingBox())?.y ?? NaN) - (before?.y ?? NaN);
  assert.ok(Math.abs(moved) <= 1, `moved by ${moved}`);
  await ann.leave();
});
