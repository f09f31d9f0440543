/**
 * A chat client that reconnects, resumes each room exactly where it stopped, and sends each message once.
 *
 * @module
 */

import { createChat } from "./chat.js";
import type { Chat, ConnectOptions } from "./types.js";

export { ChatError, type ErrorDetails } from "./error.js";
export { roomName } from "./names.js";
export type * from "./types.js";
export type * from "./wire.js";

/**
 * Connects to a chat server. The client keeps the connection until `close()`, and resumes its rooms after a loss.
 *
 * @param url The address of the chat: `wss://host/ws`, `https://host/ws`, or in a browser also `/ws`.
 */
export const connect = (url: string, options?: ConnectOptions): Chat => createChat(url, options);
