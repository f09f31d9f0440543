/** The reason why a command was refused, or why a connection ended. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  declare readonly code: string;
  declare readonly details: ErrorDetails;

  /**
   * @param code The code for programs: an error code or the reason of a close code of PROTOCOL.md, or one of the
   * client's own: `closed`, `left`, `offline`, `queue_full`, `timeout`, `too_long`.
   * @param message The text for people.
   * @param details Further fields of the server's answer.
   */
  constructor(code: string, message: string = code, details: ErrorDetails = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** The further fields of an error. */
export interface ErrorDetails {
  /** The close code, if the server closed the connection. */
  readonly close?: number;
  /** The HTTP status, if the server refused the connection. */
  readonly status?: number;
  /** The time after which a repeat may succeed, in ms. */
  readonly retryAfter?: number;
  /** The text or the object that the host service gave as its reason. */
  readonly detail?: unknown;
}

/** Returns a promise for what a function of the form `run(done)` gives to `done`. */
export const promised = <T>(run: (done: (error: ChatError | undefined, value?: T) => void) => void): Promise<T> =>
  new Promise((resolve, reject) => run((error, value) => (error ? reject(error) : resolve(value as T))));
