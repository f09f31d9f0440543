export { ChatError, type ErrorDetails } from "./error.js";
export * from "./types.js";
export * from "./wire.js";

import type { Chat, ConnectOptions } from "./types.js";

/**
 * Connects to a chat server. The client keeps the connection until `close()`, and resumes its rooms after a loss.
 *
 * @param url The address of the chat: `wss://host/ws`, `https://host/ws`, or in a browser also `/ws`.
 */
export declare function connect(url: string, options?: ConnectOptions): Chat;

/** Converts a name of a room to the form in which servers take it: lower case, then NFC. */
export declare function roomName(name: string): string;
