import { type Chat, ChatError, type RoomSummary } from "@chat-core/client";
import { browser, tab, text } from "./memory.ts";
import { isDirect } from "./place.ts";
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
  /** The direct rooms that are not shown, with their newest entry at that time. A later one shows them again. */
  #hidden: Readonly<Record<string, unknown>> = {};
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
    if (room in this.#hidden) this.#hide(room, undefined);
    if (this.#isAnswered && this.#rooms.has(room) && this.#wanted.get(room) !== false) return;
    this.#rooms.set(room, this.#rooms.get(room) ?? blank(room));
    this.#want(room, true);
  }

  /** Takes a room from the list. A direct room stays followed: otherwise the user would miss its next message. */
  remove(room: string): void {
    const direct = [...this.#rooms.keys()].filter(isDirect);
    if (this.#isAnswered && direct.includes(room) && direct.length <= MOST_DIRECT) {
      return this.#hide(room, this.find(room)?.seq);
    }
    this.#rooms.delete(room);
    this.#want(room, false);
  }

  /** Notes the newest state of a room. */
  update({ room, ...state }: Pick<RoomSummary, "room"> & Partial<RoomSummary>): void {
    if (this.#wanted.get(room) === false) return;
    this.#rooms.set(room, { ...(this.#rooms.get(room) ?? blank(room)), ...state });
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
    this.#hidden = Object.fromEntries(Object.entries(browser.read(this.#hiddenKey) ?? {}).filter(isHidden));
    browser.write(this.#hiddenKey, this.#hidden);
    for (const [room, isOn] of this.#wanted) {
      if (!isOn) found.delete(room);
      else if (!found.has(room)) found.set(room, this.#rooms.get(room) ?? blank(room));
    }
    this.#rooms = found;
    this.#publish();
    for (const room of this.#wanted.keys()) void this.#tell(room);
  }

  /** Several people can share a browser. */
  get #hiddenKey(): string {
    return `hidden.${this.#chat.state.user?.id}`;
  }

  #hide(room: string, seq: number | undefined): void {
    this.#hidden = { ...this.#hidden, [room]: seq };
    browser.write(this.#hiddenKey, this.#hidden);
    this.#publish();
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
    const shown = sorted(this.#rooms).filter(({ room, seq }) => this.#hidden[room] !== seq);
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

/** Direct rooms come last, by the name of the other user. */
function sorted(rooms: ReadonlyMap<string, RoomSummary>): readonly RoomSummary[] {
  const key = ({ room, with: user }: RoomSummary) => (isDirect(room) ? `\uffff${user?.name} ${room}` : room);
  return [...rooms.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
