import type { Events, Message } from "./wire.js";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The fields that a deletion erases. */
const ERASED = ["body", "key", "mentions", "edited", "reactions", "pinned"] as const;

/** Returns the newest entry that the state of a message contains. */
export const revision = (message: Message): number => message.rev ?? message.seq;

/**
 * Applies a change to a message, so that the result is what a new reader gets. A change that the message contains
 * already has no effect, and neither has one of an unknown kind, such as `superseded`.
 */
export function fold(message: Message, change: Events["changed"]): Message {
  if (change.seq <= revision(message)) return message;
  const next: Writable<Message> = { ...message, rev: change.seq };
  switch (change.what) {
    case "edited":
      next.body = change.body;
      next.edited = { at: change.at, ...(change.by.id !== message.user.id && { by: change.by }) };
      if (change.mentions) next.mentions = change.mentions;
      else delete next.mentions;
      if (next.reactions) next.reactions = next.reactions.map((reaction) => ({ ...reaction, stale: reaction.count }));
      break;
    case "deleted": {
      const { at, by, reason } = change;
      next.deleted = { at, by, ...(reason !== undefined && { reason }) };
      for (const field of ERASED) delete next[field];
      break;
    }
    case "reactions":
      if (change.reactions.length) next.reactions = change.reactions;
      else delete next.reactions;
      break;
    case "pinned":
      if (change.pinned) next.pinned = true;
      else delete next.pinned;
      break;
    default:
      return message;
  }
  return next;
}
