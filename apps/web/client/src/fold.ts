import type { Events, Message } from "./wire.js";

/** Returns the newest entry that the state of a message contains. */
export const revision = (message: Message): number => message.rev ?? message.seq;

/** The fields that a deletion erases. */
const ERASED = {
  body: undefined,
  key: undefined,
  mentions: undefined,
  edited: undefined,
  reactions: undefined,
  pinned: undefined,
};

/**
 * Applies a change to a message, so that the result is what a new reader gets. A change that the message contains
 * already has no effect, and neither has one of an unknown kind, such as `superseded`.
 */
export function fold(message: Message, change: Events["changed"]): Message {
  if (change.seq <= revision(message)) return message;
  const { what, seq: rev, at, by } = change;
  const fields =
    what === "edited" ?
      {
        body: change.body,
        mentions: change.mentions,
        edited: { at, by: by.id === message.user.id ? undefined : by },
        reactions: message.reactions?.map((reaction) => ({ ...reaction, stale: reaction.count })),
      }
    : what === "deleted" ?
      { ...ERASED, deleted: { at, by, reason: change.reason } }
    : what === "reactions" ? { reactions: change.reactions[0] && change.reactions }
    : what === "pinned" ? { pinned: change.pinned || undefined }
    : undefined;
  // JSON has no fields that are `undefined`.
  return fields ? (JSON.parse(JSON.stringify({ ...message, ...fields, rev })) as Message) : message;
}
