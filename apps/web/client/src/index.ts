/**
 * A chat client that reconnects, resumes each room exactly where it stopped, and sends each message once.
 *
 * @module
 */

export { connect } from "./chat.js";
export { ChatError, type ErrorDetails } from "./error.js";
export { roomName } from "./names.js";
export type * from "./types.js";
export type * from "./wire.js";
