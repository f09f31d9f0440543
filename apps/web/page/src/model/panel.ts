import { Cell } from "./store.ts";

/** The panel beside the conversation. */
export type Panel = "people" | "search" | "hood" | undefined;

export const panel = new Cell<Panel>(undefined);

export function toggle(wanted: Panel): void {
  panel.set(panel.state === wanted ? undefined : wanted);
}

export const openHood = () => panel.set("hood");
