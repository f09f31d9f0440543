import type { Chat, Events, Restriction, Room, User } from "@chat-core/client";
import { moment } from "./format.ts";
import { browser, text } from "./memory.ts";
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
  readonly title?: string | undefined;
  /** The other user of a direct room. */
  readonly with?: User | undefined;
  /** How far other users have read, where the room allows receipts. */
  readonly seen: ReadonlyMap<string, { readonly name: string; readonly seq: number }>;
  /** This user's restriction. One with an end may be over. */
  readonly restricted?: Restriction | undefined;
}

const MOST = 200;

/** The time from the end of a restriction to the question, and from that to the next one, in ms. */
const MARGIN = 500;
const AGAIN = 10_000;

/** The longest time of a timer, in ms. */
const MAX_TIMER = 2 ** 31 - 1;

/** Keeps a title for the next visit with this browser. */
export const rememberTitle = (room: string, title?: string) => browser.write(`title.${room}`, title ?? null);

/** Keeps the name of a user: the server names the other user of a direct room only once that user has joined it. */
export const rememberUser = ({ id, name }: User) => browser.write(`user.${id}`, name);

/** The name to show for the other user of a direct room. */
export const nameOfUser = ({ id, name }: User): string => (name === id ? text(browser.read(`user.${id}`)) : name) ?? id;

/** What the log of a room has beside messages, as far as it has arrived: the title, and what moderators did. */
export class RoomRecord {
  readonly state = new Cell<RecordState>({ acts: [], seen: new Map() });
  readonly #chat: Chat;
  readonly #room: Room;
  readonly #restrictions = new Map<string, Restriction | undefined>();
  #epoch = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(chat: Chat, room: Room) {
    this.#chat = chat;
    this.#room = room;
    room.on("joined", ({ epoch, with: user }) => {
      if (epoch === this.#epoch) return;
      this.#epoch = epoch;
      this.#restrictions.clear();
      // The newest messages come without the rules that are older.
      this.state.set({ acts: [], seen: new Map(), with: user, title: text(browser.read(`title.${room.name}`)) });
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

  /** The name to show: of the other user, or of the room. */
  get name(): string {
    const { with: user, title } = this.state.state;
    return (user && nameOfUser(user)) ?? title ?? this.#room.name;
  }

  #settings({ seq, at, by, created, title, join, post, direct }: Events["settings"]): void {
    if (direct !== undefined) {
      const { with: other } = this.state.state;
      const user = direct.find(({ id }) => id === other?.id);
      return this.state.set({ ...this.state.state, with: user ?? other });
    }
    const rules = { title, join, post };
    rememberTitle(this.#room.name, title);
    this.#note({ seq, at, say: (t) => t.rulesSet(by.name, created === true, rules) }, { title });
  }

  #role({ seq, at, by, user, role, restricted, reason }: Events["role"]): void {
    const wasRestricted = this.#restrictions.get(user.id) !== undefined;
    this.#restrictions.set(user.id, restricted);
    const say = (t: Texts) => {
      const until = restricted?.until === undefined ? undefined : moment(restricted.until);
      const act = restricted?.what ?? (wasRestricted ? "free" : role);
      return t.did(by.name, user.name, act, until) + (reason === undefined ? "" : ` (${reason})`);
    };
    const isMine = user.id === this.#chat.state.user?.id;
    this.#note({ seq, at, say }, isMine ? { restricted } : {});
    if (isMine) this.#watch(restricted?.until);
  }

  /** Notes a purge. One of many messages has several entries, of which the last one is shown. */
  #purged({ seq, at, by, user, from, to }: Events["purged"]): void {
    const { acts } = this.state.state;
    const key = `${by.id} ${user.id}`;
    const before = acts.find(({ purge }) => purge?.key === key && purge.to === from - 1);
    if (before !== undefined) this.state.set({ ...this.state.state, acts: acts.filter((act) => act !== before) });
    this.#note({ seq, at, say: (t) => t.purged(by.name, user.name), purge: { key, to } }, {});
  }

  #note(act: Act, more: Partial<RecordState>): void {
    const others = this.state.state.acts.filter(({ seq }) => seq !== act.seq);
    const acts = [...others, act].sort((a, b) => a.seq - b.seq).slice(-MOST);
    this.state.set({ ...this.state.state, ...more, acts });
  }

  /** The end of a restriction comes without an event, so the rights are asked for then. */
  #watch(until: number | undefined, least = MARGIN): void {
    clearTimeout(this.#timer);
    if (until === undefined) return;
    const wait = Math.max(until + MARGIN - Date.now(), least);
    this.#timer = setTimeout(() => void this.#ask(until), Math.min(wait, MAX_TIMER));
  }

  async #ask(until: number): Promise<void> {
    const { status, may } = this.#room.state;
    if (status === "left" || status === "refused" || may?.includes("send") !== false) return;
    // Offline, the next attempt asks.
    await this.#chat.request({ type: "join", room: this.#room.name }).catch(() => undefined);
    this.#watch(until, AGAIN);
  }
}
