import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAccessible } from "./support/access.mjs";
import { Person, fill, newRoom } from "./support/person.mjs";
import { browser, key, server, signIn } from "./support/users.mjs";

/**
 * Fills in the form for a room with rules.
 *
 * @param {Person} person
 * @param {string} room
 * @param {Record<string, string>} rules
 * @param {string} [title]
 */
async function create(person, room, rules = {}, title = "") {
  // Only the window in front has a focus in Firefox.
  await person.page.bringToFront();
  await person.page.getByRole("button", { name: "Join a room" }).click();
  await person.page.locator(".add-room input:focus").fill(room);
  await person.page.getByLabel("Create a room of your own, with rules").check();
  await assertAccessible(person.page, "the form for a room with rules");
  await person.page.getByLabel("Title").fill(title);
  for (const [label, value] of Object.entries(rules)) await person.page.getByLabel(label).selectOption({ label: value });
  await person.page.getByRole("button", { name: "Create", exact: true }).click();
}

/**
 * Acts on a user with the form of the panel "People".
 *
 * @param {Person} person
 * @param {string} user
 * @param {string} act
 */
async function moderate(person, user, act) {
  const panel = person.page.getByRole("complementary", { name: "People" });
  if (!(await panel.isVisible())) await person.page.getByRole("button", { name: /^People/u }).click();
  await panel.getByLabel("User").fill(user);
  await panel.getByLabel("Action").selectOption({ label: act });
  await panel.getByRole("button", { name: "Apply" }).click();
  await person.page.locator(".notice", { hasText: `${user}: ${act}` }).waitFor();
}

/**
 * Mutes Bo in a room of Ann for some milliseconds, which the form does not offer.
 *
 * @param {Person} ann
 * @param {string} room
 * @param {number} time
 */
async function mute({ page }, room, time) {
  await page.evaluate(
    async ({ room, token, time }) => {
      const socket = new WebSocket(`${location.origin}/ws`, ["chat.v1", `chat.token.${token}`]);
      await new Promise((resolve) => socket.addEventListener("open", resolve));
      const done = new Promise((resolve) =>
        socket.addEventListener("message", ({ data }) => data.includes('"done"') && resolve(undefined)),
      );
      const mute = { type: "restrict", room, user: "u2", what: "mute", until: Date.now() + time, reason: "spam" };
      socket.send(JSON.stringify({ type: "join", room }));
      socket.send(JSON.stringify({ ...mute, ref: "1" }));
      await done;
      socket.close();
    },
    { room, token: key.token("u1", "Ann"), time },
  );
}

test("an owner mutes a user, deletes and pins messages, and removes the user", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room);
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  await bo.say("spam");
  await bo.say("ham");
  await ann.sees("ham");
  const labels = async (/** @type {Person} */ person) => {
    await person.row("ham").hover();
    return person.row("ham").locator(".toolbar button").evaluateAll((all) => all.map(({ ariaLabel }) => ariaLabel));
  };
  assert.deepEqual((await labels(bo)).slice(4), ["Reply", "Thread", "Copy text", "Copy link", "Edit", "Delete"]);
  assert.deepEqual((await labels(ann)).slice(4), ["Reply", "Thread", "Copy text", "Copy link", "Pin", "Delete"]);
  await ann.row("ham").getByRole("button", { name: "Pin" }).click();
  await bo.page.getByRole("button", { name: "Pinned messages: 1" }).click();
  const pins = bo.page.getByRole("complementary", { name: "Pinned messages" });
  assert.deepEqual(await pins.locator(".text").allInnerTexts(), ["ham"]);
  await ann.row("spam").hover();
  const remove = ann.row("spam").getByRole("button", { name: /^Delete/u });
  await ann.page.bringToFront();
  await remove.press("Enter");
  assert.equal(await remove.innerText(), "Delete for good?");
  await assertAccessible(ann.page, "the question before a deletion");
  await ann.page.keyboard.press("Escape");
  await ann.row("spam").hover();
  assert.equal(await remove.innerText(), "");
  await ann.page.waitForTimeout(800);
  await remove.dblclick();
  assert.equal(await remove.innerText(), "Delete for good?");
  await ann.page.waitForTimeout(800);
  assert.equal(await bo.row("spam").count(), 1);
  await remove.click();
  await bo.page.getByText("Ann deleted this message.").waitFor();

  await ann.page.getByRole("button", { name: "People: 2" }).click();
  await ann.page.getByRole("button", { name: "Roles and restrictions of Bo" }).click();
  assert.equal(await ann.page.getByLabel("User", { exact: true }).inputValue(), "u2");
  const acts = await ann.page.getByLabel("Action").locator("option").allInnerTexts();
  assert.deepEqual(acts.slice(4), ["Member", "Moderator", "No role", "Delete all messages"]);
  await moderate(ann, "u2", "Mute for 1 hour");
  await bo.page.getByText(/^You are muted in this room until/u).waitFor();
  await moderate(ann, "u2", "Mute");
  await assertAccessible(ann.page, "roles and restrictions");
  await bo.page.locator(".notice", { hasText: `You are muted in ${room}.` }).waitFor();
  await bo.page.getByText("You are muted in this room.", { exact: true }).waitFor();
  assert.equal(await bo.page.getByRole("button", { name: "Ask again" }).count(), 0);
  await bo.field.waitFor({ state: "detached" });
  await assertAccessible(bo.page, "a user who may not write, with pins");
  await moderate(ann, "u2", "End the restriction");
  await bo.field.waitFor();
  await moderate(ann, "u2", "Remove from the room");
  await bo.page.getByText(/^This room is for members only/u).waitFor();
  await ann.page.getByRole("button", { name: "People: 1" }).waitFor();
  await ann.leave();
  await bo.leave();
});

test("a ban keeps what the user has written, and the room can be asked for again after it", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room);
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  await bo.say("first");
  await ann.sees("first");
  await bo.openHood();
  await bo.page.getByRole("button", { name: "Cut the line" }).click();
  await bo.say("on its way");
  await bo.field.fill("half a sen");
  await moderate(ann, "u2", "Remove from the room");
  await bo.page.getByRole("button", { name: "Connect again" }).first().click();
  const refusal = bo.page.locator(".waiting p", { hasText: "This room is for members only, or you are banned." });
  await refusal.waitFor();
  await bo.page.getByText("You may not write in this room now.").waitFor();
  assert.equal(await bo.field.count(), 0);
  await bo.row("on its way").locator(".message.failed").waitFor();
  assert.equal(await bo.page.getByRole("button", { name: /^People/u }).count(), 0);
  await assertAccessible(bo.page, "a room that refuses the user");
  const again = bo.page.locator(".waiting > p button", { hasText: "Try again" });
  await again.click();
  await refusal.waitFor();
  await moderate(ann, "u2", "End the restriction");
  await again.press("Enter");
  await bo.field.waitFor();
  assert.equal(await bo.field.inputValue(), "half a sen");
  await bo.page.getByRole("button", { name: "People: 2" }).waitFor();
  await bo.row("on its way").getByRole("button", { name: "Try again" }).click();
  await ann.sees("on its way");

  await moderate(ann, "u2", "Remove from the room");
  await refusal.waitFor();
  await bo.page.goto(`${server.url}#lobby`);
  await bo.page.getByRole("heading", { level: 1, name: "lobby" }).waitFor();
  await moderate(ann, "u2", "End the restriction");
  await bo.page.goto(`${server.url}#${room}`);
  await bo.sees("on its way");
  assert.equal(await bo.field.inputValue(), "half a sen");
  await ann.leave();
  await bo.leave();
});

test("a room for members admits whom its owner names, and an act that is not allowed says so", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room, { "Who may join": "Members", "Who may write": "Moderators" });
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  await bo.page.getByText(/^This room is for members only/u).waitFor();
  await moderate(ann, "u2", "Member");
  await bo.page.reload();
  await bo.page.getByText("You may not write in this room now.").waitFor();
  await moderate(ann, "u2", "Moderator");
  await bo.page.locator(".notice", { hasText: `Your role in ${room}: Moderator.` }).waitFor();
  await bo.say("thanks");
  await ann.sees("thanks");
  await bo.page.getByRole("button", { name: "People: 2" }).click();
  await bo.page.getByLabel("User", { exact: true }).fill("u1");
  await bo.page.getByRole("button", { name: "Apply" }).click();
  await bo.page.locator(".moderation").getByText("You are not allowed to do this.").waitFor();
  await ann.leave();
  await bo.leave();
});

test("acts are lines of the conversation, a title is shown, and the end of a mute is announced", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room);
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  await bo.say("hello");
  await ann.sees("hello");
  // The owner sets the rules again.
  await create(ann, room, {}, "Team of Ann");
  for (const { page } of [ann, bo]) {
    await page.getByRole("heading", { level: 1, name: "Team of Ann" }).waitFor();
    await page.locator(".room", { hasText: "Team of Ann" }).waitFor();
  }
  await moderate(ann, "u2", "Moderator");
  await mute(ann, room, 3000);
  await bo.page.getByText(/^You are muted in this room until/u).waitFor();
  await bo.page.locator(".notice", { hasText: "You may write in Team of Ann again." }).waitFor();
  await bo.say("thanks");
  await ann.sees("thanks");
  await bo.page.reload();
  await bo.sees("thanks");
  const other = newRoom();
  await create(ann, other, {}, "Another room");
  await ann.page.getByRole("heading", { level: 1, name: "Another room" }).waitFor();
  await ann.page.goto(`${server.url}#${room}`);
  await ann.sees("thanks");
  const lines = [
    /^Ann changed the rules of the room · title: Team of Ann$/u,
    /^Ann made Bo a moderator\.$/u,
    /^Ann muted Bo until .* \(spam\)$/u,
  ];
  for (const { page } of [ann, bo]) {
    const acts = await page.locator(".act span").allInnerTexts();
    assert.equal(acts.length, lines.length, acts.join());
    lines.forEach((line, index) => assert.match(acts[index] ?? "", line));
    const rows = await page.locator(".row").evaluateAll((all) => all.map((row) => row.querySelector(".act, .text")?.className));
    assert.deepEqual(rows, ["text", "act", "act", "act", "text"]);
    await assertAccessible(page, "acts in the conversation");
  }
  // Without a title, the room has its name again, also in a tab that is not in it any more.
  await create(ann, room);
  for (const name of [room, ...Array.from({ length: 20 }, newRoom)]) {
    await bo.page.evaluate((name) => void (location.hash = name), name);
    await bo.page.getByRole("heading", { level: 1, name }).waitFor();
  }
  await bo.page.locator(".room", { hasText: room }).waitFor();
  assert.equal(await bo.page.locator(".room", { hasText: "Team of Ann" }).count(), 0);
  await ann.leave();
  await bo.leave();
});

test("a title and the end of a mute are known, although they are older than the loaded messages", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room, {}, "Evening news");
  await ann.page.getByRole("heading", { level: 1, name: "Evening news" }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  await bo.page.getByRole("heading", { level: 1, name: "Evening news" }).waitFor();
  await mute(ann, room, 3_600_000);
  await bo.field.waitFor({ state: "detached" });
  await fill(ann, room, Array.from({ length: 60 }, (_, index) => `${index}`));
  await ann.sees("59");
  // Another device: it has neither been in the room nor kept anything.
  const phone = await signIn("u2", "Bo", "lobby");
  await phone.page.locator(".room", { hasText: "Evening news" }).getByRole("link").click();
  await phone.sees("59");
  assert.equal(await phone.page.locator(".act").count(), 0);
  await phone.page.getByText(/^You are muted in this room until/u).waitFor();
  await mute(ann, room, 3000);
  await phone.page.locator(".notice", { hasText: "You may write in Evening news again." }).waitFor();
  await phone.say("thanks");
  await ann.sees("thanks");
  for (const person of [ann, bo, phone]) await person.leave();
});

test("a room with receipts shows who has read the user's newest message", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await ann.page.getByRole("button", { name: "Join a room" }).click();
  await ann.page.getByLabel("Create a room of your own, with rules").check();
  await ann.page.getByLabel("Show who has read the messages").check();
  await ann.page.getByLabel("Room name").fill(room);
  await ann.page.keyboard.press("Enter");
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  for (const text of ["first", "second"]) {
    await ann.say(text);
    await bo.sees(text);
    await ann.row(text).getByText("Seen by Bo").waitFor();
  }
  assert.equal(await ann.page.getByText("Seen by Bo").count(), 1);
  assert.equal(await bo.page.getByText(/^Seen by/u).count(), 0);
  await assertAccessible(ann.page, "receipts");
  await ann.leave();
  await bo.leave();
});

test("an owner deletes all messages of a user, and later ones stay", async () => {
  const room = newRoom();
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room);
  await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
  const bo = await signIn("u2", "Bo", room);
  for (const text of ["spam 1", "spam 2"]) await bo.say(text);
  await bo.sees("spam 2");
  await ann.say("ham");
  await ann.sees("ham");
  const question = ann.page.waitForEvent("dialog");
  const acted = moderate(ann, "u2", "Delete all messages");
  await (await question).accept();
  await acted;
  for (const { page } of [ann, bo]) {
    await page.getByText("Ann deleted this message.").nth(1).waitFor();
    await page.locator(".act", { hasText: "Ann deleted all messages of Bo up to here." }).waitFor();
    assert.deepEqual(await page.locator(".row .text").allInnerTexts(), ["ham"]);
  }
  await bo.say("after");
  await ann.sees("after");
  await bo.page.reload();
  await bo.sees("after");
  assert.equal(await bo.page.getByText("Ann deleted this message.").count(), 2);
  assert.deepEqual(await bo.page.locator(".row .text").allInnerTexts(), ["ham", "after"]);
  await ann.leave();
  await bo.leave();
});

test("a guest is not offered a room with rules, and a room that exists is not created again", async () => {
  const room = newRoom();
  const cid = await Person.enter(browser, server.url, room, "Cid");
  await cid.page.getByRole("button", { name: "Join a room" }).click();
  await cid.page.locator(".add-room input:focus").waitFor();
  assert.equal(await cid.page.getByLabel("Create a room of your own, with rules").count(), 0);
  await cid.page.keyboard.press("Escape");
  await cid.say("first");
  await cid.sees("first");
  const ann = await signIn("u1", "Ann", "lobby");
  await create(ann, room);
  await ann.page.getByText("There is such a room already, and you are not its owner.").waitFor();
  await ann.leave();
  await cid.leave();
});
