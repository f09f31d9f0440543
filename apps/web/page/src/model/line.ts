import type { WebSocketClass } from "@chat-core/client";
import { Auditor } from "./ledger.ts";
import { isRecord } from "./memory.ts";
import { Cell } from "./store.ts";

/** One frame, for the list in the panel. */
export interface Shown {
  readonly id: number;
  readonly out: boolean;
  readonly type: string;
  readonly detail: string;
}

export interface LineState {
  /** The time since which the present connection is open. */
  readonly since?: number;
  /** True while the user holds the line cut. */
  readonly cut: boolean;
  readonly frames: readonly Shown[];
  readonly rooms: Auditor["rooms"];
}

const KEPT_FRAMES = 40;

/**
 * The line between the page and the server. The panel "Under the hood" can cut it, and shows what passes.
 *
 * A cut is what a lost network is for the client: frames on their way are lost in both directions, the socket ends
 * without a close frame, and attempts to connect fail.
 */
export class Line {
  readonly state: Cell<LineState>;
  readonly WebSocket: WebSocketClass;
  readonly #auditor = new Auditor();
  #sockets = new Set<LineSocket>();
  #frames: readonly Shown[] = [];
  #count = 0;

  constructor() {
    this.state = new Cell<LineState>({ cut: false, frames: [], rooms: this.#auditor.rooms });
    const line = this;
    const Bound = class extends LineSocket {
      constructor(url: string, protocols: string[]) {
        super(line, line.state.state.cut ? undefined : new WebSocket(url, protocols));
      }
    };
    // The client uses the part of the interface that the class has.
    this.WebSocket = Bound as unknown as WebSocketClass;
  }

  cut(): void {
    this.state.set({ ...this.state.state, cut: true });
    this.drop();
  }

  restore(): void {
    this.state.set({ ...this.state.state, cut: false });
  }

  /** Loses the present connection. The next attempt may succeed. */
  drop(): void {
    for (const socket of [...this.#sockets]) socket.lose();
  }

  opened(socket: LineSocket): void {
    this.#sockets.add(socket);
    this.#auditor.restart();
    this.state.set({ ...this.state.state, since: Date.now() });
  }

  ended(socket: LineSocket): void {
    if (!this.#sockets.delete(socket)) return;
    const { since: _, ...rest } = this.state.state;
    this.state.set(rest);
  }

  passed(out: boolean, data: unknown): void {
    if (typeof data !== "string") return;
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (!isRecord(frame)) return;
    if (out) this.#auditor.sent(frame);
    else this.#auditor.arrived(frame);
    const shown = { id: ++this.#count, out, type: String(frame["type"]), detail: describe(frame) };
    this.#frames = [shown, ...this.#frames].slice(0, KEPT_FRAMES);
    this.state.set({ ...this.state.state, frames: this.#frames, rooms: this.#auditor.rooms });
  }
}

function describe(frame: Record<string, unknown>): string {
  const { room, seq, after, messages, recovered, code } = frame;
  const parts: string[] = [];
  if (typeof room === "string") parts.push(room);
  if (typeof seq === "number") parts.push(`#${seq}`);
  if (isRecord(after)) parts.push(`after #${String(after["seq"])}`);
  if (Array.isArray(messages)) parts.push(`${messages.length} messages`);
  if (typeof recovered === "boolean") parts.push(recovered ? "recovered" : "not recovered");
  if (typeof code === "string" || typeof code === "number") parts.push(String(code));
  return parts.join(" · ");
}

/** A WebSocket that can be lost. Without a real one it fails at once. */
class LineSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;

  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  readonly #line: Line;
  readonly #socket: WebSocket | undefined;
  #isLost = false;

  constructor(line: Line, socket: WebSocket | undefined) {
    super();
    this.#line = line;
    this.#socket = socket;
    if (socket === undefined) {
      setTimeout(() => this.lose());
      return;
    }
    socket.addEventListener("open", () => {
      if (this.#isLost) return;
      line.opened(this);
      this.#emit(new Event("open"));
    });
    socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (this.#isLost) return;
      line.passed(false, data);
      this.#emit(new MessageEvent("message", { data }));
    });
    socket.addEventListener("error", () => {
      if (!this.#isLost) this.#emit(new Event("error"));
    });
    socket.addEventListener("close", ({ code, reason, wasClean }) => this.#end(code, reason, wasClean));
  }

  get readyState(): number {
    return this.#isLost ? LineSocket.CLOSED : (this.#socket?.readyState ?? LineSocket.CONNECTING);
  }

  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  get protocol(): string {
    return this.#socket?.protocol ?? "";
  }

  send(data: string): void {
    if (this.#isLost) return;
    this.#line.passed(true, data);
    this.#socket?.send(data);
  }

  close(code?: number, reason?: string): void {
    this.#socket?.close(code, reason);
  }

  lose(): void {
    this.#end(1006, "", false);
    this.#socket?.close();
  }

  #end(code: number, reason: string, wasClean: boolean): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#line.ended(this);
    this.#emit(new CloseEvent("close", { code, reason, wasClean }));
  }

  #emit(event: Event): void {
    this.dispatchEvent(event);
    if (event instanceof CloseEvent) this.onclose?.(event);
    else if (event instanceof MessageEvent) this.onmessage?.(event);
    else if (event.type === "open") this.onopen?.(event);
    else this.onerror?.(event);
  }
}
