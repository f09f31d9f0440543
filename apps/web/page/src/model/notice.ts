import { ChatError } from "@chat-core/client";
import { Cell } from "./store.ts";
import type { Texts } from "./texts.ts";

/** A short text that the page shows for a moment and that screen readers announce. */
export const notice = new Cell<string>("");

let timer: ReturnType<typeof setTimeout> | undefined;
notice.subscribe((text) => {
  clearTimeout(timer);
  if (text !== "") timer = setTimeout(() => notice.set(""), 4000);
});

/** Says why the server has refused a change. */
export const reason = (t: Texts, error: unknown): string =>
  t.refusal(error instanceof ChatError ? error.code : "unreachable");
