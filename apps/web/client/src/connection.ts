import { ChatError } from "./error.js";
import { now } from "./names.js";
import { advised, backoff, isFinal, probe } from "./retry.js";
import { Source } from "./source.js";
import type { ChatEvents, ChatState, ChatStatus, ConnectOptions, WebSocketClass } from "./types.js";
import type { Events, Limits, WireEvent } from "./wire.js";

/** The longest first and the longest wait before a reconnect, in ms. */
const [FIRST_WAIT, MAX_WAIT] = [500, 30_000];

/** The time after which a connection counts as stable, in ms. */
const STABLE = 10_000;

/** The events of a browser after which the network may be back. */
const WAKE = ["online", "visibilitychange"];

/** A WebSocket that is made again after each loss, as a store of its state. */
export abstract class Connection extends Source<ChatState, ChatEvents> {
  readonly #url: string;
  readonly #options: ConnectOptions;
  readonly #timeout: number;
  #state: ChatState = { status: "connecting" };
  /** The present attempt or connection. What an earlier one does has no effect. */
  #socket: WebSocket | undefined;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #token: string | undefined;
  #failures = 0;
  #connectedAt = Infinity;
  #heardAt = 0;
  #pingedAt = 0;
  #pingInterval = 20_000;
  /** The time before which the server wants no attempt. */
  #notBefore = 0;

  constructor(url: string, options: ConnectOptions, timeout: number) {
    super();
    this.#url = url;
    this.#options = options;
    this.#timeout = timeout;
    for (const type of WAKE) globalThis.addEventListener?.(type, this.#wake);
    // The subclass is not complete yet.
    queueMicrotask(() => this.reconnect());
  }

  /** Handles the first event of a connection. */
  protected abstract _onConnected(limits: Limits): void;
  /** Handles an event. */
  protected abstract _onEvent(event: WireEvent): void;
  /** Handles the loss of the connection. */
  protected abstract _onLost(): void;
  /** Handles the end. */
  protected abstract _onEnd(error: ChatError): void;
  /** Sends a newer token. */
  protected abstract _renew(token: string): void;
  /** Returns the time since which commands in flight wait, in ms. */
  protected abstract _silence(): number;

  protected override _build(): ChatState {
    return this.#state;
  }

  get status(): ChatStatus {
    return this.#state.status;
  }

  get _isOnline(): boolean {
    return this.status === "online";
  }

  /** Sends a frame, if there is a connection. */
  _send(frame: string): void {
    if (this._isOnline) this.#socket?.send(frame);
  }

  /** Ends the present connection, if there is one, and makes another one at once. */
  reconnect(): void {
    if (this.status === "closed") return;
    this.#drop();
    this.#connect();
  }

  close(): void {
    this.#end(new ChatError("closed"));
  }

  #end(error: ChatError): void {
    if (this.status === "closed") return;
    for (const type of WAKE) globalThis.removeEventListener?.(type, this.#wake);
    this.#drop();
    this.#set({ status: "closed", error });
    this._onEnd(error);
  }

  #set(state: Partial<ChatState> & Pick<ChatState, "status">): void {
    const { user, limits } = this.#state;
    this.#state = { user, limits, ...state };
    this._touch();
  }

  /** Forgets the present connection, also if its end cannot be agreed on because the peer is gone. */
  #drop(): void {
    this.#attempt++;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
    }
    if (now() - this.#connectedAt > STABLE) this.#failures = 0;
    this.#connectedAt = Infinity;
    if (this._isOnline) {
      this.#set({ status: "connecting" });
      this._onLost();
    }
  }

  #connect(): void {
    const attempt = ++this.#attempt;
    this.#set({ ...this.#state, status: "connecting" });
    this.#open(attempt).catch((cause) => {
      if (attempt === this.#attempt) this.#retry(new ChatError("token", String(cause)));
    });
  }

  async #open(attempt: number): Promise<void> {
    const token = await this.#newestToken();
    if (attempt !== this.#attempt) return;
    this.#token = token;
    const Socket: WebSocketClass = this.#options.WebSocket ?? WebSocket;
    const socket = new Socket(this.#url, token ? ["chat.v1", `chat.token.${token}`] : ["chat.v1"]);
    this.#socket = socket;
    let opened = false;
    // A server that waits for a `hello` says so with a close code, if it has the time.
    this.#timer = setTimeout(() => this.#lost(1006, "timeout", opened), this.#timeout * 1.5);
    socket.onopen = () => (opened = true);
    // Some versions of Node report a failed handshake by this event only.
    socket.onerror = () => opened || this.#lost(1006, "", false);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason, opened);
    socket.onmessage = ({ data }) => this.#receive(String(data));
  }

  #newestToken(): string | undefined | Promise<string> {
    const { token } = this.#options;
    return typeof token === "function" ? token() : token;
  }

  #receive(text: string): void {
    this.#heardAt = now();
    this.#pingedAt = 0;
    let event: WireEvent;
    try {
      event = JSON.parse(text) as WireEvent;
    } catch {
      return this.#lost(1006, "invalid_event", true);
    }
    switch (event.type) {
      case "welcome":
        this.#welcome(event);
        break;
      case "closing":
        this.#notBefore = now() + advised(event.reconnect_in_ms);
        break;
      case "expiring":
        // If this fails, the next connection asks for a token again.
        this.#renew().catch(() => {});
    }
    this._onEvent(event);
  }

  #welcome({ user, limits, ping_interval: interval }: Events["welcome"]): void {
    const isNew = !this._isOnline;
    this.#set({ status: "online", user, limits });
    if (!isNew) return;
    clearTimeout(this.#timer);
    this.#connectedAt = now();
    this.#pingInterval = interval * 1000;
    this.#heartbeat = setInterval(() => this.#beat(), this.#timeout / 4);
    this._onConnected(limits);
  }

  /** Notices a connection on which nothing arrives any more, which a browser does not. */
  #beat(): void {
    const time = now();
    const silence = this._silence();
    if (silence > this.#timeout * 3 || (this.#pingedAt && time - this.#pingedAt >= this.#timeout)) {
      this.#lost(1006, "ping_timeout", true);
    } else if (time - this.#heardAt >= (silence ? this.#timeout / 2 : this.#pingInterval)) {
      this.#ping();
    }
  }

  #ping(): void {
    if (this.#pingedAt) return;
    this.#pingedAt = now();
    this._send('{"type":"ping"}');
  }

  readonly #wake = (): void => {
    if (globalThis.document?.hidden) return;
    if (this._isOnline) this.#ping();
    else if (this.status === "waiting") this.#schedule(0);
  };

  async #renew(): Promise<void> {
    const attempt = this.#attempt;
    const token = await this.#newestToken();
    // The end of a token that the server has already would be announced again at once.
    if (token && token !== this.#token && attempt === this.#attempt) this._renew((this.#token = token));
  }

  #lost(code: number, reason: string, opened: boolean): void {
    const error = new ChatError(reason || "lost", undefined, { close: code });
    // Only a function can have another token than the one that has expired.
    if (isFinal(code) || (code === 4005 && typeof this.#options.token !== "function")) return this.#end(error);
    this.#drop();
    if (opened) return this.#retry(error);
    const attempt = this.#attempt;
    void probe(this.#url, this.#token, this.#timeout).then(({ error: refusal = error, final }) => {
      if (attempt !== this.#attempt) return;
      if (final) this.#end(refusal);
      else this.#retry(refusal);
    });
  }

  #retry(error: ChatError): void {
    this.#notBefore = Math.max(this.#notBefore, now() + (error.details.retryAfter ?? 0));
    this.#schedule(backoff(this.#failures++, FIRST_WAIT, MAX_WAIT), error);
  }

  /** Starts the next attempt after a wait, but not before the server wants it. */
  #schedule(wait: number, error = this.#state.error): void {
    clearTimeout(this.#timer);
    const delay = Math.max(wait, this.#notBefore - now());
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#set({ status: "waiting", retryAt: Date.now() + delay, error });
  }
}
