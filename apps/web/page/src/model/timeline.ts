import type { Events, Message, Room, RoomState } from "@chat-core/client";
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

/** The largest number of single messages in one page. */
export const MAX_SEQS = 100;

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
  #isLoading = false;
  /** The room's state when a page did not come, for each end. */
  readonly #stalled = new Map<"start" | "end", RoomState>();
  #joined: { readonly extra: readonly Message[]; readonly messages: readonly Message[]; readonly all: readonly Message[] } | undefined;

  constructor(room: Room) {
    this.#room = room;
    this.state = new Cell(this.#fold());
    this.#ends.push(
      room.subscribe(() => this.#publish()),
      room.on("changed", ({ target }) => void this.#reread(({ seq }) => seq === target)),
      // The first message of a thread counts its messages.
      room.on("message", ({ thread }) => void (thread !== undefined && this.#reread(({ seq }) => seq === thread))),
      room.on("purged", (purge) => void this.#reread((message) => isPurged(message, purge))),
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
      this.#stalled.clear();
      this.#publish();
    }
    return this.has(seq);
  }

  goToNewest(): void {
    this.#extra = [];
    this.#isDetached = false;
    this.#stalled.clear();
    this.#publish();
  }

  loadOlder(): void {
    const { older, messages } = this.state.state;
    if (!older) return;
    const first = messages[0];
    this.#load("start", async () => {
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
    this.#load("end", async () => {
      const page = await this.#room.history({ after: last.seq, limit: PAGE });
      if (page.messages.length > 0) this.#extra = [...this.#extra, ...page.messages];
      else this.#isDetached = false;
    });
  }

  /** Lets a page be asked for again that did not come. */
  retry(): void {
    this.#stalled.clear();
  }

  /**
   * Loads a page, unless one is on its way, or the last one at this end did not come and nothing has happened since:
   * the list asks after each change that it shows, so an answer that brings nothing would be asked for without end.
   */
  #load(end: "start" | "end", work: () => Promise<void>): void {
    const stalled = this.#stalled.get(end);
    const { messages, status } = this.#room.state;
    if (this.#isLoading || (stalled?.messages === messages && stalled.status === status)) return;
    this.#isLoading = true;
    const before = this.state.state;
    work()
      // For example offline, or the chat has ended.
      .catch(() => undefined)
      .then(() => {
        // Before the list sees the page, so that it can ask for the next one.
        this.#isLoading = false;
        const state = this.#fold();
        if (isSameRange(before, state)) this.#stalled.set(end, this.#room.state);
        else {
          this.#stalled.delete(end);
          // A new object also if the room has published the page already: the list did not get an answer then.
          this.state.set({ ...state });
        }
      });
  }

  #publish(): void {
    const state = this.#fold();
    const { messages, older, newer } = this.state.state;
    if (state.messages !== messages || state.older !== older || state.newer !== newer) this.state.set(state);
  }

  #fold(): TimelineState {
    const { messages, more } = this.#room.state;
    if (this.#extra.length === 0) return { messages, older: more, newer: false };
    const first = messages[0]?.seq ?? 0;
    const last = this.#extra.at(-1)?.seq ?? 0;
    if (this.#isDetached && last < first) return { messages: this.#extra, older: this.#hasOlder, newer: true };
    this.#isDetached = false;
    return { messages: this.#join(this.#extra, messages), older: this.#hasOlder, newer: false };
  }

  /** The extra part and the room's messages. The same parts give the same array, because each row depends on it. */
  #join(extra: readonly Message[], messages: readonly Message[]): readonly Message[] {
    if (this.#joined?.extra !== extra || this.#joined.messages !== messages) {
      const first = messages[0]?.seq ?? 0;
      this.#joined = { extra, messages, all: [...extra.filter(({ seq }) => seq < first), ...messages] };
    }
    return this.#joined.all;
  }

  /** Reads changed messages of the extra part again. The room's own messages change by themselves. */
  async #reread(isChanged: (message: Message) => boolean): Promise<void> {
    const seqs = this.#extra.filter(isChanged).map(({ seq }) => seq);
    try {
      for (let start = 0; start < seqs.length; start += MAX_SEQS) {
        const { messages } = await this.#room.history({ seqs: seqs.slice(start, start + MAX_SEQS) });
        const newest = new Map(messages.map((message) => [message.seq, message]));
        this.#extra = this.#extra.map((message) => newest.get(message.seq) ?? message);
        this.#publish();
      }
    } catch {
      // Offline: the next visit reads the page again.
    }
  }
}

/** True if a purge has deleted a message. */
export function isPurged({ seq, user }: Message, purge: Events["purged"]): boolean {
  return seq >= purge.from && seq <= purge.to && user.id === purge.user.id;
}

/** True if both show the same part of the room, apart from messages that have come at its end. */
function isSameRange(one: TimelineState, other: TimelineState): boolean {
  const isSameEnd = !other.newer || one.messages.at(-1)?.seq === other.messages.at(-1)?.seq;
  return isSameEnd && one.messages[0]?.seq === other.messages[0]?.seq && one.older === other.older && one.newer === other.newer;
}
