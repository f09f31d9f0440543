import type { Mentions, Message, User } from "@chat-core/client";

/** The name that stands for all users of a room. */
export const ROOM = "room";

/** A name that a text mentions. */
export interface Mention {
  readonly name: string;
  readonly isMe: boolean;
}

/** The beginning of a mention before the caret. */
export interface Started {
  /** The place of the `@`. */
  readonly start: number;
  readonly query: string;
}

const MOST = 50;
const SHOWN = 6;

export function started(text: string, caret: number): Started | undefined {
  const found = /(?:^|[\s(])@([^\s@]{0,32})$/u.exec(text.slice(0, caret));
  const query = found?.[1];
  return query === undefined ? undefined : { start: caret - query.length - 1, query };
}

/** The users whose names begin as the user has typed, and the room if the user may mention it. */
export function candidates(query: string, users: readonly User[], me: string, hasRoom: boolean): readonly string[] {
  const wanted = query.toLowerCase();
  const names = users.filter(({ id }) => id !== me).map(({ name }) => name);
  return [...(hasRoom ? [ROOM] : []), ...new Set(names)]
    .filter((name) => name.toLowerCase().startsWith(wanted))
    .slice(0, SHOWN);
}

/** An expression that finds these names after an `@`, the longest first. The name is the first group. */
export function mentionPattern(names: readonly string[]): RegExp {
  const sorted = [...names].sort((a, b) => b.length - a.length);
  const escaped = sorted.map((name) => name.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&"));
  // A name may end before a Korean particle, which has no space in front, but not within a Latin word.
  return new RegExp(`@(${escaped.join("|")})(?![\\p{Script=Latin}\\p{N}_])`, "giu");
}

/** The users that a text mentions, as the server wants them. */
export function mentionsIn(text: string, users: readonly User[], hasRoom: boolean): Mentions | undefined {
  const names = [...users.map(({ name }) => name), ...(hasRoom ? [ROOM] : [])];
  if (!text.includes("@") || names.length === 0) return undefined;
  const found = new Set([...text.matchAll(mentionPattern(names))].map(([, name]) => name?.toLowerCase()));
  if (hasRoom && found.has(ROOM)) return "@room";
  const ids = users.filter(({ name }) => found.has(name.toLowerCase())).map(({ id }) => id);
  return ids.length === 0 ? undefined : ids.slice(0, MOST);
}

/** True if the message mentions this user. */
export function isMentioned({ mentions }: Pick<Message, "mentions">, me: string): boolean {
  return mentions === "@room" || mentions?.includes(me) === true;
}

/** The names to mark in the text of a message. */
export function mentionedNames(mentions: Mentions, me: string, nameOf: (id: string) => string): readonly Mention[] {
  if (mentions === "@room") return [{ name: ROOM, isMe: true }];
  return mentions.map((id) => ({ name: nameOf(id), isMe: id === me }));
}
