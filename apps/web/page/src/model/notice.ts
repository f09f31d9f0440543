import { Cell } from "./store.ts";

/** A short text that the page shows for a moment and that screen readers announce. */
export const notice = new Cell<string>("");

let timer: ReturnType<typeof setTimeout> | undefined;
notice.subscribe((text) => {
  clearTimeout(timer);
  if (text !== "") timer = setTimeout(() => notice.set(""), 4000);
});
