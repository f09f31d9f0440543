import type { ChatCore } from "./chat.js";
import { ChatError } from "./error.js";
import { now } from "./names.js";
import { advised, backoff, isFinal, probe } from "./retry.js";
import type { ChatState, ConnectOptions } from "./types.js";
import type { Events, WireEvent } from "./wire.js";

/** The longest first wait before a reconnect, in ms. */
const FIRST_WAIT = 500;

/** The longest wait before a reconnect, in ms. */
const MAX_WAIT = 30_000;

/** The time after which a connection counts as stable, in ms. */
const STABLE = 10_000;

/** The events of a browser after which the network may be back. */
const WAKE = ["online", "visibilitychange"];

/** A WebSocket that is made again after each loss. */
export interface Connection {
  /** Returns the state. */
  _state(): ChatState;
  /** Sends a frame, if there is a connection. */
  _send(frame: string): void;
  /** Ends the present connection, if there is one, and makes another one at once. */
  reconnect(): void;
  /** Ends the connection for good. */
  _end(error: ChatError): void;
}

/** Creates a connection. The first attempt starts with `reconnect`. */
export function createConnection(
  url: string,
  { token: source, WebSocket: Socket = WebSocket }: ConnectOptions,
  timeout: number,
  chat: ChatCore,
): Connection {
  let state: ChatState = { status: "connecting" };
  /** What the server has announced last. */
  let session: Pick<ChatState, "user" | "limits"> | undefined;
  let socket: WebSocket | undefined;
  /** The number of attempts and connections that have ended. */
  let ended = 0;
  /** False while the handshake is on its way, because only then can the server refuse it. */
  let isOpen = true;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let heartbeat: ReturnType<typeof setInterval> | undefined;
  let token: string | undefined;
  let failures = 0;
  let heardAt = 0;
  let pingedAt = 0;
  let pingInterval = 0;
  /** The time before which the server wants no attempt. */
  let notBefore = 0;

  function set(next: ChatState): void {
    state = { ...session, ...next };
    chat.status = next.status;
    chat._touch();
  }

  /** Returns a function that has no effect after the end of the present attempt or connection. */
  function current<T>(run: (value: T) => void): (value: T) => void {
    const before = ended;
    return (value) => {
      if (before === ended) run(value);
    };
  }

  function send(frame: string): void {
    if (chat.status === "online") socket?.send(frame);
  }

  function reconnect(): void {
    if (chat.status === "closed") return;
    drop();
    connect();
  }

  function end(error: ChatError): void {
    if (chat.status === "closed") return;
    listen("remove");
    drop();
    set({ status: "closed", error });
    chat._queue._reject(error);
  }

  /** Forgets the present connection, also if its end cannot be agreed on because the peer is gone. */
  function drop(): void {
    ended++;
    clearTimeout(timer);
    clearInterval(heartbeat);
    socket?.close();
    socket = undefined;
    if (chat.status === "online") {
      set({ status: "connecting" });
      chat._lost();
    }
  }

  function connect(): void {
    set({ ...state, status: "connecting" });
    isOpen = true;
    // A server that waits for a `hello` says so with a close code, if it has the time.
    timer = setTimeout(() => lost("timeout"), timeout * 1.5);
    newestToken()
      .then(current(open))
      .catch(current((cause) => retry(new ChatError("token", `${cause}`))));
  }

  const newestToken = async (): Promise<string | undefined> => (typeof source === "function" ? source() : source);

  function open(newest: string | undefined): void {
    token = newest;
    socket = new Socket(url, token ? ["chat.v1", `chat.token.${token}`] : ["chat.v1"]);
    isOpen = false;
    socket.onopen = current(() => (isOpen = true));
    // Some versions of Node report a failed handshake by this event only.
    socket.onerror = current(() => isOpen || lost(""));
    socket.onclose = current(({ code, reason }) => lost(reason, code));
    socket.onmessage = current(receive);
  }

  function receive({ data }: { readonly data: string }): void {
    heardAt = now();
    pingedAt = 0;
    let event: WireEvent;
    try {
      event = JSON.parse(data) as WireEvent;
    } catch {
      return lost("invalid_event");
    }
    if (event.type === "welcome") handleWelcome(event);
    if (event.type === "closing") notBefore = now() + advised(event.reconnect_in_ms);
    // If this fails, the next connection asks for a token again.
    if (event.type === "expiring") newestToken().then(current(renew)).catch(() => {});
    chat._handle(event);
  }

  function handleWelcome({ user, limits, ping_interval: interval }: Events["welcome"]): void {
    const isNew = chat.status !== "online";
    session = { user, limits };
    set({ status: "online" });
    if (!isNew) return;
    clearTimeout(timer);
    timer = setTimeout(() => (failures = 0), STABLE);
    pingInterval = interval * 1000;
    heartbeat = setInterval(beat, timeout / 4);
    chat._resume();
  }

  /** Notices a connection on which nothing arrives any more, which a browser does not. */
  function beat(): void {
    const time = now();
    const silence = chat._queue._silence();
    if (silence > timeout * 3 || (pingedAt && time - pingedAt >= timeout)) lost("ping_timeout");
    else if (time - heardAt >= (silence ? timeout / 2 : pingInterval)) ping();
  }

  function ping(): void {
    if (pingedAt) return;
    pingedAt = now();
    send('{"type":"ping"}');
  }

  function wake(): void {
    // A hidden page may end without a further event.
    if (globalThis.document?.hidden) return chat._hide();
    if (chat.status === "online") ping();
    else if (chat.status === "waiting") schedule(0);
  }

  function listen(action: "add" | "remove"): void {
    for (const type of WAKE) globalThis[`${action}EventListener`]?.(type, wake);
  }

  function renew(newest: string | undefined): void {
    // The end of a token that the server has already would be announced again at once.
    if (newest && newest !== token) chat._add({ type: "hello", token: (token = newest) }, "own", () => {});
  }

  function lost(reason: string, code = 1006): void {
    const error = new ChatError(reason || "lost", undefined, { close: code });
    // Only a function can have another token than the one that has expired.
    if (isFinal(code) || (code === 4005 && typeof source !== "function")) return end(error);
    drop();
    if (isOpen) return retry(error);
    void probe(url, token, timeout).then(
      current(({ error: refusal = error, final }) => (final ? end : retry)(refusal)),
    );
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

  listen("add");
  return { _state: () => state, _send: send, reconnect, _end: end };
}
