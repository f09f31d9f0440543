import { isRecord } from "./memory.ts";

/** One resumption of a room. */
export interface Resumption {
  readonly after: number;
  /** The newest entry of the log when the room was joined again. */
  readonly to: number;
  readonly recovered: boolean;
  /** Entries of the replay that have arrived. */
  readonly got: number;
  readonly at: number;
}

/** The entries of one room, as they arrived on the wire. */
export interface Ledger {
  readonly epoch: string;
  readonly seq: number;
  /** True before the first entry of a replay of the newest messages, which can begin anywhere up to `seq`. */
  readonly isStart: boolean;
  readonly received: number;
  /** Entries that were skipped without an announcement. */
  readonly lost: number;
  /** Entries that arrived although they were here already. */
  readonly doubled: number;
  /** Entries that the server announced as gone. */
  readonly gone: number;
  readonly resumptions: readonly Resumption[];
}

const EMPTY: Ledger = { epoch: "", seq: 0, isStart: false, received: 0, lost: 0, doubled: 0, gone: 0, resumptions: [] };

type Frame = Record<string, unknown>;

const number = (value: unknown) => (typeof value === "number" ? value : 0);

/**
 * Checks the sequence of each room from the frames alone. It knows nothing of the client's state, so that it can
 * contradict it.
 */
export class Auditor {
  rooms: ReadonlyMap<string, Ledger> = new Map();
  #joins = new Map<unknown, Frame>();

  /** Forgets the questions of a connection that has ended. */
  restart(): void {
    this.#joins.clear();
  }

  sent(frame: Frame): void {
    if (frame["type"] === "join") this.#joins.set(frame["ref"], frame);
  }

  arrived(frame: Frame): void {
    const { type, room } = frame;
    if (typeof room !== "string") return;
    const ledger = this.rooms.get(room) ?? EMPTY;
    if (type === "joined") this.#set(room, this.#joined(ledger, frame));
    else if (type === "gap") this.#set(room, gap(ledger, frame));
    else if (isEntry(frame)) this.#set(room, entry(ledger, number(frame["seq"])));
  }

  #joined(ledger: Ledger, frame: Frame): Ledger {
    const join = this.#joins.get(frame["ref"]);
    this.#joins.delete(frame["ref"]);
    const [epoch, seq, first] = [String(frame["epoch"]), number(frame["seq"]), number(frame["first"])];
    const after = join?.["after"];
    if (isRecord(after)) {
      const from = number(after["seq"]);
      const recovered = frame["recovered"] === true;
      const resumption = { after: from, to: seq, recovered, got: 0, at: Date.now() };
      return {
        ...ledger,
        epoch,
        seq: after["epoch"] === epoch ? from : first - 1,
        isStart: false,
        resumptions: [resumption, ...ledger.resumptions].slice(0, 20),
      };
    }
    const last = join?.["last"];
    // A member who joins again without a place asks for rights only.
    if (last === undefined && ledger.epoch === epoch) return ledger;
    return { ...ledger, epoch, seq, isStart: last !== undefined };
  }

  #set(room: string, ledger: Ledger): void {
    this.rooms = new Map(this.rooms).set(room, ledger);
  }
}

/** Every event with these fields is an entry, also one of a type that this page does not know. */
function isEntry({ seq, at, ref }: Frame): boolean {
  return typeof seq === "number" && typeof at === "number" && ref === undefined;
}

function entry(ledger: Ledger, seq: number): Ledger {
  const missing = ledger.isStart && seq <= ledger.seq ? 0 : seq - ledger.seq - 1;
  const [newest, ...older] = ledger.resumptions;
  const isReplay = newest !== undefined && seq > newest.after && seq <= newest.to;
  return {
    ...ledger,
    seq: ledger.isStart ? seq : Math.max(ledger.seq, seq),
    isStart: false,
    received: ledger.received + 1,
    lost: ledger.lost + Math.max(0, missing),
    doubled: ledger.doubled + (missing < 0 ? 1 : 0),
    resumptions: isReplay ? [{ ...newest, got: newest.got + 1 }, ...older] : ledger.resumptions,
  };
}

function gap(ledger: Ledger, frame: Frame): Ledger {
  const [from, to] = [number(frame["from"]), number(frame["to"])];
  return { ...ledger, epoch: String(frame["epoch"]), seq: to, isStart: false, gone: ledger.gone + to - from + 1 };
}
