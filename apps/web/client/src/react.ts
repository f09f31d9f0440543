import type { Chat, JoinOptions, Room, RoomState } from "./types.js";

/**
 * Joins a room while a component shows it. Components that use the same room share one membership.
 *
 * `room` is `undefined` only in the first render of a room that nothing else has joined.
 */
export declare function useRoom(
  chat: Chat,
  name: string,
  options?: JoinOptions,
): { readonly room: Room | undefined; readonly state: RoomState | undefined };
