import { ChatError } from "./error.js";
import { advised, backoff, isFinal, probe } from "./retry.js";
import type { ChatState, ConnectOptions, WebSocketClass } from "./types.js";
import type { Limits, User, WireEvent } from "./wire.js";

/** The longest first and the longest wait before a reconnect, in ms. */
const [FIRST_WAIT, MAX_WAIT] = [500, 30_000];

/** The time after which a connection counts as stable, in ms. */
const STABLE = 10_000;

/** The events of a browser after which the network may be back, or gone. */
const WAKE = ["online", "offline", "pageshow", "visibilitychange"];

/** The owner of a connection. */
export interface Owner {
  /** Handles a new status. */
  onState(state: ChatState): void;
  /** Handles the first event of a connection. */
  onConnected(): void;
  /** Handles an event. */
  onEvent(event: WireEvent): void;
  /** Handles the loss of the connection. */
  onLost(): void;
  /** Handles the end. */
  onEnd(error: ChatError): void;
  /** Sends a newer token. */
  renew(token: string): void;
  /** Returns the time since which commands in flight wait, in ms. */
  silence(): number;
}

/** A WebSocket that is made again after each loss. */
export class Connection {
  readonly #url: string;
  readonly #options: ConnectOptions;
  readonly #owner: Owner;
  readonly #timeout: number;
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
  _state: ChatState = { status: "connecting" };

  constructor(url: string, options: ConnectOptions, owner: Owner) {
    this.#url = url;
    this.#options = options;
    this.#owner = owner;
    this.#timeout = options.timeout ?? 10_000;
    for (const type of WAKE) globalThis.addEventListener?.(type, this.#wake);
    void this.#connect();
  }

  get _isOnline(): boolean {
    return this._state.status === "online";
  }

  /** Sends a frame, if there is a connection. */
  _send(frame: string): void {
    if (this._isOnline) this.#socket?.send(frame);
  }

  /** Ends the present connection and makes another one at once. */
  _reconnect(): void {
    if (this._state.status === "closed") return;
    this.#drop();
    void this.#connect();
  }

  /** Ends the connection for good. */
  _end(error: ChatError): void {
    if (this._state.status === "closed") return;
    for (const type of WAKE) globalThis.removeEventListener?.(type, this.#wake);
    this.#drop();
    this.#set({ status: "closed", error });
    this.#owner.onEnd(error);
  }

  #set(state: Partial<ChatState> & Pick<ChatState, "status">): void {
    const { user, limits } = this._state;
    this._state = { ...(user && { user }), ...(limits && { limits }), ...state };
    this.#owner.onState(this._state);
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
    if (performance.now() - this.#connectedAt > STABLE) this.#failures = 0;
    this.#connectedAt = Infinity;
    if (this._isOnline) {
      this.#set({ status: "connecting" });
      this.#owner.onLost();
    }
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#set({ ...this._state, status: "connecting" });
    try {
      this.#token = await this.#newestToken();
    } catch (cause) {
      if (attempt === this.#attempt) this.#retry(new ChatError("token", String(cause)));
      return;
    }
    if (attempt !== this.#attempt) return;
    let socket: WebSocket;
    try {
      const Socket: WebSocketClass = this.#options.WebSocket ?? WebSocket;
      socket = new Socket(this.#url, ["chat.v1", ...(this.#token ? [`chat.token.${this.#token}`] : [])]);
    } catch (cause) {
      return this._end(new ChatError("invalid", String(cause)));
    }
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
    this.#heardAt = performance.now();
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
        this.#notBefore = performance.now() + advised(event.reconnect_in_ms);
        break;
      case "expiring":
        void this.#renew();
    }
    this.#owner.onEvent(event);
  }

  #welcome(event: { user: User; limits: Limits; ping_interval: number }): void {
    const { user, limits } = event;
    const isNew = !this._isOnline;
    this.#set({ status: "online", user, limits });
    if (!isNew) return;
    clearTimeout(this.#timer);
    this.#connectedAt = performance.now();
    this.#pingInterval = event.ping_interval * 1000;
    this.#heartbeat = setInterval(() => this.#beat(), this.#timeout / 4);
    this.#owner.onConnected();
  }

  /** Notices a connection on which nothing arrives any more, which a browser does not. */
  #beat(): void {
    const now = performance.now();
    const silence = this.#owner.silence();
    if (silence > this.#timeout * 3 || (this.#pingedAt && now - this.#pingedAt >= this.#timeout)) {
      this.#lost(1006, "ping_timeout", true);
    } else if (now - this.#heardAt >= (silence ? this.#timeout / 2 : this.#pingInterval)) {
      this.#ping();
    }
  }

  #ping(): void {
    if (this.#pingedAt) return;
    this.#pingedAt = performance.now();
    this._send('{"type":"ping"}');
  }

  readonly #wake = (): void => {
    if (globalThis.document?.hidden) return;
    if (this._isOnline) this.#ping();
    else if (this._state.status === "waiting") this.#schedule(0);
  };

  async #renew(): Promise<void> {
    const attempt = this.#attempt;
    try {
      const token = await this.#newestToken();
      // The end of a token that the server has already would be announced again at once.
      if (token && token !== this.#token && attempt === this.#attempt) this.#owner.renew((this.#token = token));
    } catch {
      // The next connection asks for a token again.
    }
  }

  #lost(code: number, reason: string, opened: boolean): void {
    const error = new ChatError(reason || "lost", undefined, { close: code });
    // Only a function can have another token than the one that has expired.
    if (isFinal(code) || (code === 4005 && typeof this.#options.token !== "function")) return this._end(error);
    this.#drop();
    if (opened) return this.#retry(error);
    const attempt = this.#attempt;
    void probe(this.#url, this.#token, this.#timeout).then(({ error: refusal = error, final }) => {
      if (attempt !== this.#attempt) return;
      if (final) this._end(refusal);
      else this.#retry(refusal);
    });
  }

  #retry(error: ChatError): void {
    this.#notBefore = Math.max(this.#notBefore, performance.now() + (error.details.retryAfter ?? 0));
    this.#schedule(backoff(this.#failures++, FIRST_WAIT, MAX_WAIT), error);
  }

  /** Starts the next attempt after a wait, but not before the server wants it. */
  #schedule(wait: number, error = this._state.error): void {
    clearTimeout(this.#timer);
    const delay = Math.max(wait, this.#notBefore - performance.now());
    this.#timer = setTimeout(() => void this.#connect(), delay);
    this.#set({ status: "waiting", retryAt: Date.now() + delay, ...(error && { error }) });
  }
}
