import type { Message, PendingSend, Room } from "@chat-core/client";
import { Cell } from "./store.ts";
import { MAX_SEQS, isPurged } from "./timeline.ts";

export interface ThreadState {
  /** The message with which the thread begins, once it is known. */
  readonly root?: Message;
  readonly messages: readonly Message[];
  readonly pending: readonly PendingSend[];
  /** True if the thread has older messages than these. */
  readonly older: boolean;
  /** True after a page did not come. */
  readonly hasFailed: boolean;
}

const PAGE = 50;

/** One thread: what the room holds of it, and pages of what is older. */
export class Thread {
  readonly state: Cell<ThreadState>;
  readonly #room: Room;
  readonly #root: number;
  readonly #ends: (() => void)[] = [];
  /** The messages from pages, with the root. Those that the room holds too are newer there. */
  #pages = new Map<number, Message>();
  #older: boolean;
  #hasFailed = false;
  /** The first message that the room held last. If it is later now, the room has dropped messages. */
  #first: number | undefined;

  constructor(room: Room, root: number) {
    this.#room = room;
    this.#root = root;
    this.#older = room.state.more;
    this.#first = room.state.messages[0]?.seq;
    this.state = new Cell(this.#fold());
    this.#ends.push(
      room.subscribe(() => this.#update()),
      room.on("changed", ({ target }) => void this.#reread(({ seq }) => seq === target)),
      room.on("purged", (purge) => void this.#reread((message) => isPurged(message, purge))),
    );
    void this.loadOlder();
    if (this.state.state.root === undefined) void this.#read([root]);
  }

  end(): void {
    for (const end of this.#ends) end();
  }

  async loadOlder(): Promise<void> {
    if (!this.#older) return;
    const before = this.state.state.messages[0]?.seq;
    try {
      const range = { thread: this.#root, limit: PAGE, ...(before !== undefined && { before }) };
      const { messages, more } = await this.#room.history(range);
      for (const message of messages) this.#pages.set(message.seq, message);
      this.#older = more;
      this.#hasFailed = false;
    } catch {
      this.#hasFailed = true;
    }
    this.state.set(this.#fold());
  }

  #update(): void {
    const first = this.#room.state.messages[0]?.seq;
    if (this.#first !== undefined && (first ?? Infinity) > this.#first) {
      this.#pages = new Map();
      this.#older = true;
      void this.loadOlder();
    }
    this.#first = first;
    this.state.set(this.#fold());
  }

  #fold(): ThreadState {
    const { messages, pending } = this.#room.state;
    const all = new Map(this.#pages);
    for (const message of messages) {
      if (message.thread === this.#root || message.seq === this.#root) all.set(message.seq, message);
    }
    const root = all.get(this.#root);
    all.delete(this.#root);
    return {
      ...(root !== undefined && { root }),
      messages: [...all.values()].sort((a, b) => a.seq - b.seq),
      pending: pending.filter(({ thread }) => thread === this.#root),
      older: this.#older,
      hasFailed: this.#hasFailed,
    };
  }

  /** Reads changed messages again that the room does not hold. */
  async #reread(isChanged: (message: Message) => boolean): Promise<void> {
    const seqs = [...this.#pages.values()].filter(isChanged).map(({ seq }) => seq);
    for (let start = 0; start < seqs.length; start += MAX_SEQS) await this.#read(seqs.slice(start, start + MAX_SEQS));
  }

  async #read(seqs: readonly number[]): Promise<void> {
    try {
      const { messages } = await this.#room.history({ seqs });
      for (const message of messages) this.#pages.set(message.seq, message);
    } catch {
      this.#hasFailed = true;
    }
    this.state.set(this.#fold());
  }
}
