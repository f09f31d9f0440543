import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Cluster } from "./support/cluster.mjs";
import { Person, launch, newRoom } from "./support/person.mjs";

/** Longer than an election of the servers of NATS, in which no message can be stored. */
const PATIENCE_MS = 60_000;

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Cluster} */
let cluster;
before(async () => {
  browser = await launch();
  cluster = await Cluster.start();
});
after(() => Promise.all([browser?.close(), cluster?.end()]));

test("two people on two nodes talk through kill -9 of either node and of the stream's leader", async () => {
  const room = newRoom();
  const ann = await Person.enter(browser, cluster.url, room, "Ann");
  const bo = await Person.enter(browser, cluster.url, room, "Bo");
  for (const { page } of [ann, bo]) page.setDefaultTimeout(PATIENCE_MS);
  await Promise.all([ann.openHood(), bo.openHood()]);
  /** @type {string[]} */
  const texts = [];
  /** @param {string} when */
  const talk = async (when) => {
    for (const person of [ann, bo]) {
      for (const number of [1, 2]) {
        const text = `${person.name} ${when} ${number}`;
        texts.push(text);
        await person.say(text);
      }
    }
  };
  const allSeen = async () => {
    for (const person of [ann, bo]) for (const text of texts) await person.sees(text);
  };
  await talk("before");
  await allSeen();
  assert.deepEqual(await cluster.clients(), { chat1: 1, chat2: 1 });

  for (const node of ["chat1", "chat2"]) {
    await cluster.kill(node);
    await talk(`after ${node}`);
    await allSeen();
    await cluster.restart(node);
    await spread(bo);
  }

  const leader = await cluster.leader();
  await cluster.kill(leader);
  await talk("after the leader");
  await allSeen();
  await cluster.restart(leader);

  assert.deepEqual((await ann.texts()).toSorted(), texts.toSorted());
  assert.deepEqual(await bo.texts(), await ann.texts());
  for (const person of [ann, bo]) {
    const { lost, doubled } = await person.counts();
    assert.deepEqual({ lost, doubled }, { lost: 0, doubled: 0 });
  }
  await ann.leave();
  await bo.leave();
});

/**
 * Lets a person connect again until there is one on each node: the server may count the connection that has ended.
 *
 * @param {Person} person
 */
async function spread(person) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const clients = await cluster.clients();
    if (clients["chat1"] === 1 && clients["chat2"] === 1) return;
    assert.ok(Date.now() < until, JSON.stringify(clients));
    await person.page.getByRole("button", { name: "Drop and resume at once" }).click();
    await setTimeout(500);
  }
}
