import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { isFirefox } from "./person.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The rules of WCAG 2.2, levels A and AA, and the common practice. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/**
 * Asserts that axe finds no violation on a page.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} view
 */
export async function assertAccessible(page, view) {
  if (isFirefox) return;
  // Without animations, because a colour on its way is not the colour of the design.
  const cdp = await page.context().newCDPSession(page);
  // The isolated world of the debugger is not under the policy of the page.
  const { frameTree } = await cdp.send("Page.getFrameTree");
  const { executionContextId: contextId } = await cdp.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  // One that repeats without an end cannot be finished, and changes no colour.
  const finish = "document.getAnimations().forEach((a) => a.effect.getComputedTiming().endTime < Infinity && a.finish())";
  await cdp.send("Runtime.evaluate", { expression: finish, contextId });
  await cdp.send("Runtime.evaluate", { expression: axe, contextId });
  const { result } = await cdp.send("Runtime.evaluate", {
    expression: `axe.run({ runOnly: ${JSON.stringify(TAGS)} }).then(({ violations }) =>
      violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, all }) =>
        id + ": " + target.join(" ") + " " + [...any, ...all].map(({ message }) => message).join("; "))))`,
    awaitPromise: true,
    returnByValue: true,
    contextId,
  });
  assert.deepEqual(result.value, [], view);
}
