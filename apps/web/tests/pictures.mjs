// Makes the pictures of the page that the documents show: node pictures.mjs [FOLDER]. They are made with the fonts of
// fonts-noto-core, fonts-noto-cjk and fonts-noto-color-emoji of Debian.
import { join } from "node:path";
import { launch } from "./support/person.mjs";
import { Server } from "./support/server.mjs";
import { Key } from "./support/token.mjs";

/** @typedef {import("./support/person.mjs").Person} Person */

const folder = process.argv[2] ?? new URL("../../../docs/images", import.meta.url).pathname;
const DESK = { viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 };
const DARK = { ...DESK, colorScheme: /** @type {const} */ ("dark") };
const PHONE = { viewport: { width: 390, height: 760 }, hasTouch: true, isMobile: true };

const key = new Key();
const options = ["--token-secret", key.file, "--guests", "--user-command-rate", "0", "--command-rate", "0"];
const [browser, server] = await Promise.all([launch(), Server.start("tungstenite", options)]);

/**
 * @param {string} id
 * @param {string} name
 * @param {string} room
 * @param {import("playwright-core").BrowserContextOptions} form
 */
const enter = (id, name, room, form) => key.signIn(browser, server.url, id, name, room, form);

/**
 * @param {Person} person
 * @param {string} name
 */
async function take({ page }, name) {
  // The caret blinks, and a notice fades.
  await page.mouse.move(0, 0);
  await page.waitForTimeout(600);
  await page.screenshot({ path: join(folder, `page-${name}.png`), caret: "hide" });
}

/**
 * Says texts in turn, each when everybody has the one before.
 *
 * @param {readonly Person[]} everybody
 * @param {readonly (readonly [Person, string])[]} talk
 */
async function talk(everybody, talk) {
  for (const [person, text] of talk) {
    await person.field.fill(text);
    // On a phone, Enter is a new line.
    await person.page.locator(".main .send").click();
    for (const each of everybody) await each.sees(text);
  }
}

/**
 * Presses a button of a message.
 *
 * @param {Person} person
 * @param {string} text
 * @param {string} name
 */
async function press(person, text, name) {
  await person.row(text).hover();
  await person.row(text).getByRole("button", { name, exact: true }).click();
}

/**
 * Creates a room with a title.
 *
 * @param {Person} person
 * @param {string} room
 * @param {string} title
 */
async function create({ page }, room, title) {
  await page.getByRole("button", { name: "Join a room" }).click();
  await page.getByLabel("Room name").fill(room);
  await page.getByLabel("Create a room of your own, with rules").check();
  await page.getByLabel("Title").fill(title);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
}

/** A conversation of three people, and the way of the line that is cut. */
async function conversation() {
  const ann = await enter("ann-park", "Ann Park", "lobby", DESK);
  await create(ann, "product", "Product team");
  const hong = await enter("gildong", "홍길동", "product", { ...DARK, locale: "ko-KR" });
  const cid = await enter("cid1", "Cid", "product", PHONE);
  const all = [ann, hong, cid];
  await talk(all, [
    [ann, "The new sign-in is on the test server. Please try it on your phones!"],
    [hong, "확인했습니다. 로그인 화면이 훨씬 빨라졌네요 👏 그런데 모바일에서 버튼이 조금 작아 보여요."],
    [cid, "I can make them 44 px. Is tomorrow early enough?"],
    [ann, "Tomorrow is fine."],
    [ann, "🎉"],
  ]);
  await press(hong, "I can make them 44 px. Is tomorrow early enough?", "반응: 👍");
  await press(ann, "I can make them 44 px. Is tomorrow early enough?", "React: 👍");
  await talk(all, [
    [cid, "بالتوفيق للجميع، نلتقي غدًا at 10:00"],
    [hong, "네, 내일 뵙겠습니다"],
    [cid, "I will bring the prototype. The list keeps its place now when older messages arrive, also on slow phones."],
    [ann, "Great, I have been waiting for that one."],
    [hong, "저도요. 테스트 결과는 내일 공유할게요."],
  ]);
  const news = {
    로비: ["점심은 열두 시에 먹어요."],
    "release-7": ["The release is tagged.", "The packages are built.", "Who writes the announcement?"],
  };
  for (const [room, texts] of Object.entries(news)) {
    await ann.page.goto(`${server.url}#${encodeURIComponent(room)}`);
    await ann.page.getByRole("heading", { level: 1, name: room }).waitFor();
    await ann.page.goto(`${server.url}#product`);
    await hong.page.goto(`${server.url}#${encodeURIComponent(room)}`);
    for (const text of texts) await talk([hong], [[hong, text]]);
    await ann.page.locator(".room", { hasText: room }).locator(".badge").waitFor();
  }
  await hong.page.goto(`${server.url}#product`);
  await hong.sees("네, 내일 뵙겠습니다");
  await ann.field.click();
  await hong.field.pressSequentially("좋아요");
  await ann.page.locator(".typing .clip").waitFor();
  await take(ann, "light");
  await take(cid, "phone");
  await hong.field.fill("");
  await take(hong, "dark");

  await ann.openHood();
  await ann.page.getByRole("button", { name: "Cut the line" }).click();
  await ann.say("I write this without a connection.");
  await talk([hong, cid], [[hong, "Are you still there?"], [cid, "She cut the line :)"]]);
  await take(ann, "cut");
  await ann.page.getByRole("complementary").getByRole("button", { name: "Connect again" }).click();
  await ann.sees("I write this without a connection.");
  await take(ann, "resumed");
  for (const person of all) await person.leave();
}

async function thread() {
  const ann = await enter("ann-park", "Ann Park", "plans", DESK);
  const bo = await enter("bo", "Bo Lee", "plans", DESK);
  const kim = await enter("u3", "김하나", "plans", DESK);
  const question = "Shall we ship the new parser on Friday?";
  await talk([bo], [[ann, question]]);
  await press(bo, question, "Thread");
  const field = bo.page.locator("#thread-composer");
  for (const text of ["The fuzzer ran all night without a finding.", "@Ann Park can you read the change log once more?"]) {
    await field.fill(text);
    await field.press("Enter");
    await ann.sees(text);
  }
  await talk([ann], [[kim, "저는 월요일까지 기다리는 게 좋겠어요."]]);
  await press(ann, "저는 월요일까지 기다리는 게 좋겠어요.", "Reply");
  await talk([bo], [[ann, "@김하나 why Monday?"]]);
  await field.pressSequentially("Let us ask @");
  await bo.page.locator(".mention-list").waitFor();
  await take(bo, "thread");
  for (const person of [ann, bo, kim]) await person.leave();
}

async function rights() {
  const ann = await enter("ann-park", "Ann Park", "lobby", DESK);
  await create(ann, "release", "Release planning");
  const bo = await enter("bo", "Bo Lee", "release", { ...DARK, locale: "ko-KR" });
  const rules = "The rules of this room: be kind, and no advertisements.";
  await talk([ann], [[bo, "Buy cheap watches at https://example.com"], [bo, "Really cheap"], [ann, rules]]);
  await press(ann, rules, "Pin");
  await press(ann, "Really cheap", "Delete");
  // The page takes two clicks at once for a double click.
  await ann.page.waitForTimeout(800);
  await press(ann, "Really cheap", "Delete for good?");
  await ann.page.getByRole("button", { name: "People: 2" }).click();
  await ann.page.getByRole("button", { name: "Roles and restrictions of Bo Lee" }).click();
  await ann.page.getByRole("button", { name: "Apply" }).click();
  await ann.page.locator(".act", { hasText: "muted" }).waitFor();
  await take(ann, "rights");
  for (const person of [ann, bo]) await person.leave();
}

async function direct() {
  const kim = await enter("u3", "김하나", "plans", DESK);
  const bo = await enter("bo", "Bo Lee", "plans", DARK);
  const ann = await enter("ann-park", "Ann Park", "plans", DESK);
  for (const [person, text] of /** @type {const} */ ([[kim, "번역은 오늘 끝나요."], [ann, "Did you see the note about the parser?"]])) {
    await person.page.getByRole("button", { name: "People: 3" }).click();
    await person.page.getByRole("button", { name: "Message to Bo Lee" }).click();
    await person.page.getByRole("heading", { level: 1, name: "Bo Lee" }).waitFor();
    await talk([person], [[person, text]]);
  }
  await talk([kim], [[kim, "Shall I send it to you?"]]);
  await bo.page.locator(".room", { hasText: "김하나" }).getByRole("link").click();
  await talk([bo, kim], [[bo, "Yes, please 👍"], [kim, "여기 있어요 🎉"]]);
  await bo.page.locator(".room", { hasText: "Ann Park" }).locator(".badge").waitFor();
  await take(bo, "direct");
  for (const person of [ann, bo, kim]) await person.leave();
}

try {
  for (const scene of [conversation, thread, rights, direct]) await scene();
} finally {
  await Promise.all([browser.close(), server.end()]);
  key.end();
}
