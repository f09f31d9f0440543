/**
 * A hook for React.
 *
 * @module
 */

import { roomName } from "@chat-core/client";
import { useCallback, useSyncExternalStore } from "react";
import type { Chat, JoinOptions, Room, RoomState } from "./types.js";

/**
 * Joins a room while a component shows it. Components that use the same room share one membership.
 *
 * `room` and `state` are `undefined` only in the first render of a room that nothing else has joined. `options`
 * count for the first join of the room.
 */
export function useRoom(
  chat: Chat,
  name: string,
  options?: JoinOptions,
): { readonly room: Room | undefined; readonly state: RoomState | undefined } {
  const find = (): Room | undefined => chat.rooms.get(roomName(name));
  const subscribe = useCallback(
    (listener: () => void) => {
      const room = chat.join(name, options);
      const end = room.subscribe(listener);
      return () => {
        end();
        room.leave();
      };
    },
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [chat, name],
  );
  const state = useSyncExternalStore(subscribe, () => find()?.state, () => undefined);
  return { room: find(), state };
}
