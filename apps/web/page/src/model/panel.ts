import { Cell } from "./store.ts";

/** The panel beside the conversation. A thread is named by its first message. */
export type Panel = "people" | "search" | "hood" | "pins" | { readonly thread: number } | undefined;

export const panel = new Cell<Panel>(undefined);

export function toggle(wanted: Panel): void {
  panel.set(panel.state === wanted ? undefined : wanted);
}

/** The thread that is open. */
export const openThread = (shown: Panel) => (typeof shown === "object" ? shown.thread : undefined);

export const openHood = () => panel.set("hood");
