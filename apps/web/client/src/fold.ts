import type { Message, MessageChange } from "./wire.js";

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
 * Applies a change or a purge to a message, so that the result is what a new reader gets. One that the
 * message contains already has no effect, and neither has one of another message or of an unknown kind, such as
 * `superseded`.
 */
export function fold(message: Message, change: MessageChange): Message {
  const { what, seq: rev, at, by } = change;
  const { seq, user } = message;
  const isTarget =
    what ? seq === change.target : (
      seq >= change.from && seq <= change.to && user.id === change.user.id && !message.deleted
    );
  if (!isTarget || rev <= revision(message)) return message;
  const fields =
    what === "edited" ?
      {
        body: change.body,
        mentions: change.mentions,
        edited: { at, by: by.id === user.id ? undefined : by },
        reactions: message.reactions?.map((reaction) => ({ ...reaction, stale: reaction.count })),
      }
    : !what || what === "deleted" ?
      { ...ERASED, deleted: { at, by, reason: change.reason } }
    : what === "reactions" ? { reactions: change.reactions[0] && change.reactions }
    : what === "pinned" ? { pinned: change.pinned || undefined }
    : undefined;
  // JSON has no fields that are `undefined`.
  return fields ? (JSON.parse(JSON.stringify({ ...message, ...fields, rev })) as Message) : message;
}
