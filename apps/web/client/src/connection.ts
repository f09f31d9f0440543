import { ChatError } from "./error.js";
import { now } from "./names.js";
import { advised, backoff, isFinal, probe } from "./retry.js";
import type { ChatState, ConnectOptions, WebSocketClass } from "./types.js";
import type { Events, WireEvent } from "./wire.js";

/** The longest first wait before a reconnect, in ms. */
const FIRST_WAIT = 500;

/** The longest wait before a reconnect, in ms. */
const MAX_WAIT = 30_000;

/** The time after which a connection counts as stable, in ms. */
const STABLE = 10_000;

/** The events of a browser after which the network may be back. */
const WAKE = ["online", "visibilitychange"];

/** The owner of a connection. */
export interface Owner {
  /** Handles a new state. */
  _onState(): void;
  /** Handles the first event of a connection. */
  _onConnected(): void;
  /** Handles an event. */
  _onEvent(event: WireEvent): void;
  /** Handles the loss of the connection. */
  _onLost(): void;
  /** Handles the end. */
  _onEnd(error: ChatError): void;
  /** Sends a newer token. */
  _renew(token: string): void;
  /** Returns the time since which commands in flight wait, in ms. */
  _silence(): number;
}

/** A WebSocket that is made again after each loss. */
export interface Connection {
  /** Returns the state. */
  _state(): ChatState;
  /** Sends a frame, if there is a connection. */
  _send(frame: string): void;
  /** Ends the present connection, if there is one, and makes another one at once. */
  _reconnect(): void;
  /** Ends the connection for good. */
  _end(error: ChatError): void;
}

/** Creates a connection. The first attempt starts with `_reconnect`. */
export function createConnection(url: string, options: ConnectOptions, timeout: number, owner: Owner): Connection {
  const Socket: WebSocketClass = options.WebSocket ?? WebSocket;
  let state: ChatState = { status: "connecting" };
  /** The present attempt or connection. What an earlier one does has no effect. */
  let socket: WebSocket | undefined;
  let attempts = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let heartbeat: ReturnType<typeof setInterval> | undefined;
  let token: string | undefined;
  let failures = 0;
  let connectedAt = Infinity;
  let heardAt = 0;
  let pingedAt = 0;
  let pingInterval = 0;
  /** The time before which the server wants no attempt. */
  let notBefore = 0;

  const isOnline = (): boolean => state.status === "online";

  function set(next: ChatState): void {
    const { user, limits } = state;
    state = { user, limits, ...next };
    owner._onState();
  }

  function send(frame: string): void {
    if (isOnline()) socket?.send(frame);
  }

  function reconnect(): void {
    if (state.status === "closed") return;
    drop();
    connect();
  }

  function end(error: ChatError): void {
    if (state.status === "closed") return;
    for (const type of WAKE) globalThis.removeEventListener?.(type, wake);
    drop();
    set({ status: "closed", error });
    owner._onEnd(error);
  }

  /** Forgets the present connection, also if its end cannot be agreed on because the peer is gone. */
  function drop(): void {
    attempts++;
    clearTimeout(timer);
    clearInterval(heartbeat);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
      socket = undefined;
    }
    if (now() - connectedAt > STABLE) failures = 0;
    connectedAt = Infinity;
    if (isOnline()) {
      set({ status: "connecting" });
      owner._onLost();
    }
  }

  function connect(): void {
    const attempt = ++attempts;
    set({ ...state, status: "connecting" });
    open(attempt).catch((cause) => {
      if (attempt === attempts) retry(new ChatError("token", String(cause)));
    });
  }

  async function open(attempt: number): Promise<void> {
    // Before there is a socket, the server has not refused anything.
    let opened = true;
    // A server that waits for a `hello` says so with a close code, if it has the time.
    timer = setTimeout(() => lost(1006, "timeout", opened), timeout * 1.5);
    const newest = await newestToken();
    if (attempt !== attempts) return;
    token = newest;
    const opening = (socket = new Socket(url, token ? ["chat.v1", `chat.token.${token}`] : ["chat.v1"]));
    opened = false;
    opening.onopen = () => (opened = true);
    // Some versions of Node report a failed handshake by this event only.
    opening.onerror = () => opened || lost(1006, "", false);
    opening.onclose = ({ code, reason }) => lost(code, reason, opened);
    opening.onmessage = ({ data }) => receive(String(data));
  }

  async function newestToken(): Promise<string | undefined> {
    return typeof options.token === "function" ? options.token() : options.token;
  }

  function receive(text: string): void {
    heardAt = now();
    pingedAt = 0;
    let event: WireEvent;
    try {
      event = JSON.parse(text) as WireEvent;
    } catch {
      return lost(1006, "invalid_event", true);
    }
    if (event.type === "welcome") handleWelcome(event);
    if (event.type === "closing") notBefore = now() + advised(event.reconnect_in_ms);
    // If this fails, the next connection asks for a token again.
    if (event.type === "expiring") renew().catch(() => {});
    owner._onEvent(event);
  }

  function handleWelcome({ user, limits, ping_interval: interval }: Events["welcome"]): void {
    const isNew = !isOnline();
    set({ status: "online", user, limits });
    if (!isNew) return;
    clearTimeout(timer);
    connectedAt = now();
    pingInterval = interval * 1000;
    heartbeat = setInterval(beat, timeout / 4);
    owner._onConnected();
  }

  /** Notices a connection on which nothing arrives any more, which a browser does not. */
  function beat(): void {
    const time = now();
    const silence = owner._silence();
    if (silence > timeout * 3 || (pingedAt && time - pingedAt >= timeout)) lost(1006, "ping_timeout", true);
    else if (time - heardAt >= (silence ? timeout / 2 : pingInterval)) ping();
  }

  function ping(): void {
    if (pingedAt) return;
    pingedAt = now();
    send('{"type":"ping"}');
  }

  function wake(): void {
    if (globalThis.document?.hidden) return;
    if (isOnline()) ping();
    else if (state.status === "waiting") schedule(0);
  }

  async function renew(): Promise<void> {
    const attempt = attempts;
    const newest = await newestToken();
    // The end of a token that the server has already would be announced again at once.
    if (newest && newest !== token && attempt === attempts) owner._renew((token = newest));
  }

  function lost(code: number, reason: string, opened: boolean): void {
    const error = new ChatError(reason || "lost", undefined, { close: code });
    // Only a function can have another token than the one that has expired.
    if (isFinal(code) || (code === 4005 && typeof options.token !== "function")) return end(error);
    drop();
    if (opened) return retry(error);
    const attempt = attempts;
    void probe(url, token, timeout).then(({ error: refusal = error, final }) => {
      if (attempt === attempts) (final ? end : retry)(refusal);
    });
  }

  function retry(error: ChatError): void {
    notBefore = Math.max(notBefore, now() + (error.details.retryAfter ?? 0));
    schedule(backoff(failures++, FIRST_WAIT, MAX_WAIT), error);
  }

  /** Starts the next attempt after a wait, but not before the server wants it. */
  function schedule(wait: number, error = state.error): void {
    clearTimeout(timer);
    const delay = Math.max(wait, notBefore - now());
    timer = setTimeout(connect, delay);
    set({ status: "waiting", retryAt: Date.now() + delay, error });
  }

  for (const type of WAKE) globalThis.addEventListener?.(type, wake);
  return { _state: () => state, _send: send, _reconnect: reconnect, _end: end };
}
