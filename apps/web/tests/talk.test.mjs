import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, launch, newRoom } from "./support/person.mjs";
import { ADAPTERS, MODES, Server, isFull } from "./support/server.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const servers = [...ADAPTERS.map((adapter) => ({ adapter, mode: "hijack" })), ...(isFull ? MODES : [])];

for (const { adapter, mode } of servers) {
  test(`two people talk on ${adapter}, ${mode}`, async () => {
    const server = await Server.start(adapter, mode === "hijack" ? [] : ["--upgrade", mode]);
    try {
      await assertHeaders(server.url);
      const room = newRoom();
      const ann = await Person.enter(browser, server.url, room, "Ann");
      const bo = await Person.enter(browser, server.url, room, "홍길동");
      await ann.say("Hello Bo");
      await bo.sees("Hello Bo");
      await bo.field.pressSequentially("반갑");
      await ann.page.getByText("홍길동 is typing…").waitFor();
      await bo.say("반갑습니다 🎉");
      await ann.sees("반갑습니다 🎉");
      assert.deepEqual(await ann.texts(), ["Hello Bo", "반갑습니다 🎉"]);
      assert.deepEqual(await bo.texts(), await ann.texts());
      await ann.page.getByRole("button", { name: "People: 2" }).click();
      assert.deepEqual(await ann.page.locator(".people bdi").allInnerTexts(), ["Ann", "홍길동"]);
      await bo.leave();
      await ann.page.getByRole("button", { name: "People: 1" }).waitFor();
      await ann.leave();
    } finally {
      await server.end();
    }
  });
}

/** @param {string} url */
async function assertHeaders(url) {
  const page = await fetch(url);
  const html = await page.text();
  const policy = page.headers.get("content-security-policy") ?? "";
  for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part));
  assert.ok(!policy.includes("unsafe"));
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.equal(page.headers.get("referrer-policy"), "no-referrer");
  const again = await fetch(url, { headers: { "if-none-match": page.headers.get("etag") ?? "" } });
  assert.deepEqual([again.status, await again.text()], [304, ""]);
  const script = /src="(app-[^"]+\.js)"/.exec(html)?.[1] ?? "";
  // fetch accepts gzip, and shows the content.
  const answer = await fetch(url + script);
  assert.equal(answer.headers.get("content-encoding"), "gzip");
  assert.equal(answer.headers.get("content-type"), "text/javascript; charset=utf-8");
  assert.match(answer.headers.get("cache-control") ?? "", /immutable/);
  const plain = await fetch(url + script, { headers: { "accept-encoding": "identity" } });
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(await plain.text(), await answer.text());
}
