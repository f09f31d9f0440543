import type { Chat, Events, Restriction, Room } from "@chat-core/client";
import { moment } from "./format.ts";
import { Cell } from "./store.ts";
import type { Texts } from "./texts.ts";

/** An act on a room or on its users, as a line of the conversation. */
export interface Act {
  readonly seq: number;
  readonly at: number;
  readonly say: (t: Texts) => string;
  /** The users of a purge, and the end of its range. */
  readonly purge?: { readonly key: string; readonly to: number };
}

export interface RecordState {
  readonly acts: readonly Act[];
  /** How far other users have read, where the room allows receipts. */
  readonly seen: ReadonlyMap<string, { readonly name: string; readonly seq: number }>;
}

const MOST = 200;

/** The time from the end of a restriction to the question, and from that to the next one, in ms. */
const MARGIN = 500;
const AGAIN = 10_000;

/** The longest time of a timer, in ms. */
const MAX_TIMER = 2 ** 31 - 1;

/** What the log of a room has beside messages, as far as it has arrived: what moderators did. */
export class RoomRecord {
  readonly state = new Cell<RecordState>({ acts: [], seen: new Map() });
  readonly #chat: Chat;
  readonly #room: Room;
  readonly #restrictions = new Map<string, Restriction | undefined>();
  #epoch = "";
  /** The end of this user's restriction. */
  #until: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(chat: Chat, room: Room) {
    this.#chat = chat;
    this.#room = room;
    room.on("joined", ({ epoch }) => {
      if (epoch === this.#epoch) return;
      this.#epoch = epoch;
      this.#restrictions.clear();
      this.state.set({ acts: [], seen: new Map() });
    });
    room.subscribe(({ restricted }) => {
      if (restricted?.until === this.#until) return;
      this.#until = restricted?.until;
      this.#watch(MARGIN);
    });
    room.on("settings", (event) => this.#settings(event));
    room.on("read", ({ user, seq }) => {
      const { seen } = this.state.state;
      if (user.id === chat.state.user?.id || seq <= (seen.get(user.id)?.seq ?? 0)) return;
      this.state.set({ ...this.state.state, seen: new Map(seen).set(user.id, { name: user.name, seq }) });
    });
    room.on("role", (event) => this.#role(event));
    room.on("purged", (event) => this.#purged(event));
  }

  #settings({ seq, at, by, created, title, join, post, direct }: Events["settings"]): void {
    // The rules of a direct room are its users.
    if (direct !== undefined) return;
    const rules = { title, join, post };
    this.#note({ seq, at, say: (t) => t.rulesSet(by.name, created === true, rules) });
  }

  #role({ seq, at, by, user, role, restricted, reason }: Events["role"]): void {
    const wasRestricted = this.#restrictions.get(user.id) !== undefined;
    this.#restrictions.set(user.id, restricted);
    const say = (t: Texts) => {
      const until = restricted?.until === undefined ? undefined : moment(restricted.until);
      const act = restricted?.what ?? (wasRestricted ? "free" : role);
      return t.did(by.name, user.name, act, until) + (reason === undefined ? "" : ` (${reason})`);
    };
    this.#note({ seq, at, say });
  }

  /** Notes a purge. One of many messages has several entries, of which the last one is shown. */
  #purged({ seq, at, by, user, from, to }: Events["purged"]): void {
    const { acts } = this.state.state;
    const key = `${by.id} ${user.id}`;
    const before = acts.find(({ purge }) => purge?.key === key && purge.to === from - 1);
    if (before !== undefined) this.state.set({ ...this.state.state, acts: acts.filter((act) => act !== before) });
    this.#note({ seq, at, say: (t) => t.purged(by.name, user.name), purge: { key, to } });
  }

  #note(act: Act): void {
    const others = this.state.state.acts.filter(({ seq }) => seq !== act.seq);
    const acts = [...others, act].sort((a, b) => a.seq - b.seq).slice(-MOST);
    this.state.set({ ...this.state.state, acts });
  }

  /** The end of a restriction comes without an event, so the rights are asked for then. */
  #watch(least: number): void {
    clearTimeout(this.#timer);
    if (this.#until === undefined) return;
    const wait = Math.max(this.#until + MARGIN - Date.now(), least);
    this.#timer = setTimeout(() => void this.#ask(), Math.min(wait, MAX_TIMER));
  }

  async #ask(): Promise<void> {
    const { status, may } = this.#room.state;
    if (status === "left" || status === "refused" || may?.includes("send") !== false) return;
    // Offline, the next attempt asks.
    await this.#chat.request({ type: "join", room: this.#room.name }).catch(() => undefined);
    this.#watch(AGAIN);
  }
}
