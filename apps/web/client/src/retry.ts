import { ChatError } from "./error.js";

/** The longest wait that a server can advise, in ms. Wrong advice must not stop a client for days. */
const MAX_ADVICE = 300_000;

/** Returns a random part of a time that doubles with each failure, from `first` up to `max`, in ms. */
export const backoff = (failures: number, first: number, max: number): number =>
  Math.random() * Math.min(max, first * 2 ** failures);

/** Bounds the advice of a server, in ms. */
export const advised = (wait: number | undefined): number => Math.min(wait || 0, MAX_ADVICE);

/** Returns true if a connection that ended with this close code must not be made again: PROTOCOL.md, section 9. */
export const isFinal = (code: number): boolean => /^(4[5-9]|100[23789]|1010)/.test(`${code}`);

/** The answer to the question why a handshake failed. */
export interface Answer {
  /** The reason, if the server refused the connection. */
  readonly error?: ChatError;
  /** True if a retry cannot succeed. */
  readonly final?: boolean;
}

/**
 * Asks why a handshake failed: browsers hide the response to a refused handshake, but show that to an ordinary
 * request. Without an answer of a chat server, the network or a proxy was the cause.
 */
export async function probe(url: string, token: string | undefined, limit: number): Promise<Answer> {
  try {
    const response = await fetch(url.replace("ws", "http"), {
      headers: { accept: "application/json", ...(token && { authorization: `Bearer ${token}` }) },
      signal: AbortSignal.timeout(limit),
    });
    const { status } = response;
    const { ok, error: { code, message } = {} } = (await response.json().catch(() => ({}))) as {
      ok?: boolean;
      error?: { code?: unknown; message?: string };
    };
    if (ok) return {};
    const retryAfter = advised(1000 * +(response.headers.get("retry-after") ?? 0));
    // Only a chat server names a code of text. A proxy or the login page of a network goes away.
    const isServer = typeof code === "string";
    const error = new ChatError(isServer ? code : `http_${status}`, message, { status, retryAfter });
    return { error, final: isServer && status < 500 && status !== 429 };
  } catch {
    return {};
  }
}
