import type { Message, Room } from "@chat-core/client";
import { Cell } from "./store.ts";

export interface TimelineState {
  readonly messages: readonly Message[];
  /** True if there are older messages than the first one. */
  readonly older: boolean;
  /** True if there are newer messages that are not shown, because the user reads an old part of the room. */
  readonly newer: boolean;
}

const PAGE = 100;
const AROUND = 30;

/**
 * The messages that the list shows: those of the room's state, or a part further back, which grows until it meets
 * them. So a jump far back costs one page, not all pages between.
 */
export class Timeline {
  readonly state: Cell<TimelineState>;
  readonly #room: Room;
  readonly #ends: (() => void)[] = [];
  #extra: readonly Message[] = [];
  #isDetached = false;
  #hasOlder = false;
  #loading: Promise<void> | undefined;

  constructor(room: Room) {
    this.#room = room;
    this.state = new Cell(this.#fold());
    this.#ends.push(
      room.subscribe(() => this.state.set(this.#fold())),
      room.on("changed", ({ target }) => void this.#reread(target)),
    );
  }

  end(): void {
    for (const end of this.#ends) end();
  }

  has(seq: number): boolean {
    return this.state.state.messages.some((message) => message.seq === seq);
  }

  /** Loads the part of the room around a message, unless the list has it. */
  async goTo(seq: number): Promise<boolean> {
    if (!this.has(seq)) {
      const page = await this.#room.history({ before: seq + AROUND, limit: 2 * AROUND });
      this.#extra = page.messages;
      this.#hasOlder = page.more;
      this.#isDetached = true;
      this.#publish();
    }
    return this.has(seq);
  }

  goToNewest(): void {
    this.#extra = [];
    this.#isDetached = false;
    this.#publish();
  }

  loadOlder(): void {
    const { older, messages } = this.state.state;
    if (!older) return;
    const first = messages[0];
    this.#load(async () => {
      if (this.#extra.length === 0 || first === undefined) {
        await this.#room.older(PAGE);
        return;
      }
      const page = await this.#room.history({ before: first.seq, limit: PAGE });
      this.#extra = [...page.messages, ...this.#extra];
      this.#hasOlder = page.more;
    });
  }

  loadNewer(): void {
    const last = this.#extra.at(-1);
    if (!this.#isDetached || last === undefined) return;
    this.#load(async () => {
      const page = await this.#room.history({ after: last.seq, limit: PAGE });
      this.#extra = [...this.#extra, ...page.messages];
      if (page.messages.length === 0) this.#isDetached = false;
    });
  }

  #load(work: () => Promise<void>): void {
    this.#loading ??= work()
      // Offline: the next scroll asks again.
      .catch(() => undefined)
      .finally(() => {
        this.#loading = undefined;
        this.#publish();
      });
  }

  #publish(): void {
    this.state.set(this.#fold());
  }

  #fold(): TimelineState {
    const { messages, more } = this.#room.state;
    if (this.#extra.length === 0) return { messages, older: more, newer: false };
    const first = messages[0]?.seq ?? 0;
    const last = this.#extra.at(-1)?.seq ?? 0;
    if (this.#isDetached && last < first) return { messages: this.#extra, older: this.#hasOlder, newer: true };
    this.#isDetached = false;
    const before = this.#extra.filter(({ seq }) => seq < first);
    return { messages: [...before, ...messages], older: this.#hasOlder, newer: false };
  }

  /** Reads a changed message of the extra part again. The room's own messages change by themselves. */
  async #reread(seq: number): Promise<void> {
    if (!this.#extra.some((message) => message.seq === seq)) return;
    try {
      const { messages } = await this.#room.history({ seqs: [seq] });
      const newest = messages[0];
      if (newest === undefined) return;
      this.#extra = this.#extra.map((message) => (message.seq === seq ? newest : message));
      this.#publish();
    } catch {
      // Offline: the next visit reads the page again.
    }
  }
}
