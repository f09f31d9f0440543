import { type Chat, ChatError, type RoomSummary } from "@chat-core/client";
import { browser, isRecord, tab, text } from "./memory.ts";
import { isDirect, place } from "./place.ts";
import { Cell } from "./store.ts";

const FIRST_ROOM = "lobby";
const PAGE = 100;

/** The time in which several markers that move on another device cause one question, in ms. */
const PAUSE = 1000;

/** The number of direct rooms beyond which a removed one is not followed any more, so that others have space. */
const MOST_DIRECT = 150;

/** The refusals of a server that keeps no list. */
const LACKS = new Set(["unsupported", "unknown_type"]);

const blank = (room: string): RoomSummary => ({ room, seq: 0, read: 0, unread: 0, mentions: 0 });

/**
 * The rooms of the user. The server keeps the list: a room that the user visits is followed. If the server keeps no
 * such list, the browser does.
 */
export class Directory {
  readonly list: Cell<readonly RoomSummary[]>;
  /** False if the server keeps no list. */
  isKept = true;
  #isAnswered = false;
  readonly #chat: Chat;
  #rooms: Map<string, RoomSummary>;
  /** What is hidden, in a browser that keeps nothing. */
  #unkept: Readonly<Record<string, unknown>> = {};
  /** The rooms to follow, and those not to follow any more, until the server has confirmed it. */
  readonly #wanted = new Map<string, boolean>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(chat: Chat) {
    this.#chat = chat;
    // What this tab knew before a reload, until the server answers.
    this.#rooms = restore(tab.read("rooms"));
    this.list = new Cell(sorted(this.#rooms));
    chat.on("welcome", () => void this.refresh());
    chat.on("activity", (activity) => this.update(activity));
    chat.on("message", ({ room }) => {
      // There is no activity in a room that this tab is in.
      if (isDirect(room) && room in this.#hidden) this.#publish();
    });
    chat.on("read", ({ room }) => {
      // The marker has moved on another device. A room that this tab is in counts by itself.
      if (!chat.rooms.has(room)) this.refreshSoon();
    });
  }

  find(room: string): RoomSummary | undefined {
    return this.#rooms.get(room);
  }

  /** Puts a room into the list. */
  add(room: string): void {
    if (room in this.#hidden) {
      this.#hide(room, undefined);
      this.#publish();
    }
    if (this.#isAnswered && this.#rooms.has(room) && this.#wanted.get(room) !== false) return;
    this.#rooms.set(room, this.#rooms.get(room) ?? blank(room));
    this.#want(room, true);
  }

  /** Takes a room from the list. A direct room stays followed: otherwise the user would miss its next message. */
  remove(room: string): void {
    const entry = this.#rooms.get(room);
    const isListed = this.#isAnswered && entry !== undefined && !this.#wanted.has(room);
    if (isListed && canHide(room, this.#rooms)) {
      this.#hide(room, this.#newest(entry));
      return this.#publish();
    }
    this.#rooms.delete(room);
    if (isListed || !this.isKept || !isDirect(room)) return this.#want(room, false);
    // The next list says if the user follows it at all.
    this.#wanted.set(room, false);
    this.#publish();
    this.refreshSoon();
  }

  /** Notes what is new of a room. */
  update({ room, ...state }: Pick<RoomSummary, "room"> & Partial<RoomSummary>): void {
    this.set({ ...(this.#rooms.get(room) ?? blank(room)), ...state });
  }

  /** Notes the whole state of a room. */
  set(entry: RoomSummary): void {
    if (this.#wanted.get(entry.room) === false) return;
    this.#rooms.set(entry.room, entry);
    this.#publish();
  }

  refreshSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.refresh();
    }, PAUSE);
  }

  /** Asks the server for the list, and tells it what it has not confirmed yet. */
  async refresh(): Promise<void> {
    if (!this.isKept || this.#chat.status !== "online") return;
    const found = new Map<string, RoomSummary>();
    let after: string | undefined;
    try {
      do {
        const page = await this.#chat.request({ type: "rooms", limit: PAGE, ...(after !== undefined && { after }) });
        for (const entry of page.rooms) found.set(entry.room, entry);
        after = page.more ? page.rooms.at(-1)?.room : undefined;
      } while (after !== undefined);
    } catch (error) {
      return this.#check(error);
    }
    this.#isAnswered = true;
    // Without those that are not followed any more, or that the address names.
    const isHidden = ([room]: [string, unknown]) => found.has(room) && this.#wanted.get(room) !== true;
    this.#hidden = Object.fromEntries(Object.entries(this.#hidden).filter(isHidden));
    for (const [room, isOn] of this.#wanted) {
      const entry = found.get(room);
      if (isOn) found.set(room, entry ?? this.#rooms.get(room) ?? blank(room));
      else if (entry !== undefined && !canHide(room, found)) found.delete(room);
      else {
        if (entry !== undefined) this.#hide(room, entry.seq);
        this.#wanted.delete(room);
      }
    }
    this.#rooms = found;
    this.#publish();
    for (const room of this.#wanted.keys()) void this.#tell(room);
  }

  /** Several people can share a browser. */
  get #hiddenKey(): string {
    return `hidden.${this.#chat.state.user?.id}`;
  }

  /**
   * The direct rooms that are not shown, with their newest entry at that time. A later one shows them again. Each read
   * is new, because another window can have changed them.
   */
  get #hidden(): Readonly<Record<string, unknown>> {
    const kept = browser.read(this.#hiddenKey);
    return isRecord(kept) ? kept : this.#unkept;
  }

  set #hidden(rooms: Readonly<Record<string, unknown>>) {
    this.#unkept = rooms;
    browser.write(this.#hiddenKey, rooms);
  }

  #hide(room: string, seq: number | undefined): void {
    this.#hidden = { ...this.#hidden, [room]: seq };
  }

  /** The newest entry of a room. A room that this tab is in counts by itself. */
  #newest({ room, seq }: RoomSummary): number {
    return Math.max(seq, this.#chat.rooms.get(room)?.state.cursor?.seq ?? 0);
  }

  #want(room: string, isOn: boolean): void {
    if (this.isKept) {
      this.#wanted.set(room, isOn);
      void this.#tell(room);
    }
    this.#publish();
  }

  async #tell(room: string): Promise<void> {
    const on = this.#wanted.get(room);
    if (on === undefined || this.#chat.status !== "online") return;
    try {
      await this.#chat.request({ type: "follow", room, on });
      if (this.#wanted.get(room) === on) this.#wanted.delete(room);
    } catch (error) {
      // A room that cannot be followed stays in the list of this tab.
      this.#check(error);
    }
  }

  #check(error: unknown): void {
    if (!this.isKept || !(error instanceof ChatError) || !LACKS.has(error.code)) return;
    this.isKept = false;
    const visited = this.#rooms;
    this.#rooms = restore(browser.read("rooms"));
    if (this.#rooms.size === 0) this.#rooms.set(FIRST_ROOM, blank(FIRST_ROOM));
    for (const [room, isOn] of this.#wanted) if (isOn) this.#rooms.set(room, visited.get(room) ?? blank(room));
    this.#publish();
  }

  #publish(): void {
    const hidden = this.#hidden;
    const shown = sorted(this.#rooms).filter(
      (entry) => entry.room === place.state?.room || hidden[entry.room] !== this.#newest(entry),
    );
    this.list.set(shown);
    (this.isKept ? tab : browser).write(
      "rooms",
      shown.map(({ room }) => room),
    );
  }
}

function restore(names: unknown): Map<string, RoomSummary> {
  const found = Array.isArray(names) ? names.flatMap((name) => text(name) ?? []) : [];
  return new Map(found.map((name) => [name, blank(name)]));
}

/** Returns true if a room can be removed and still be followed. */
function canHide(room: string, rooms: ReadonlyMap<string, RoomSummary>): boolean {
  return isDirect(room) && [...rooms.keys()].filter(isDirect).length <= MOST_DIRECT;
}

/** Direct rooms come last, by the name of the other user. */
function sorted(rooms: ReadonlyMap<string, RoomSummary>): readonly RoomSummary[] {
  const key = ({ room, with: user }: RoomSummary) => (isDirect(room) ? `\uffff${user?.name} ${room}` : room);
  return [...rooms.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
