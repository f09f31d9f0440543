import type { ComponentChildren, JSX } from "preact";
import { isEmojiOnly } from "../model/format.ts";
import { type Mention, mentionPattern } from "../model/mentions.ts";

/** Only addresses with a scheme: a guess would make links of words. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/giu;
/** Punctuation after an address belongs to the sentence. */
const TAIL = /[.,;:!?)\]]+$/u;

interface Props {
  readonly text: string;
  readonly mark?: readonly string[];
  readonly mentions?: readonly Mention[];
}

/**
 * The text of a message. It is only ever text: the parts are text nodes, and the address of a link is checked by the
 * URL parser. With words to mark, the text is part of a link, and has none itself.
 */
export function Text({ text, mark, mentions = [] }: Props): JSX.Element {
  return (
    <div class={isEmojiOnly(text) ? "text big" : "text"} dir="auto">
      {mark === undefined ? linked(text, mentions) : marked(text, mark)}
    </div>
  );
}

function linked(text: string, mentions: readonly Mention[]): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const address = found[0].replace(TAIL, "");
    if (!URL.canParse(address)) continue;
    parts.push(...mentioning(text.slice(end, found.index), mentions));
    end = found.index + address.length;
    parts.push(
      <a href={new URL(address).href} target="_blank" rel="noopener noreferrer nofollow">
        {address}
      </a>,
    );
  }
  parts.push(...mentioning(text.slice(end), mentions));
  return parts;
}

/** Marks the names of users. */
function mentioning(text: string, mentions: readonly Mention[]): ComponentChildren[] {
  if (mentions.length === 0) return [text];
  const parts = text.split(mentionPattern(mentions.map(({ name }) => name)));
  return parts.map((part, index) => {
    if (index % 2 === 0) return part;
    const isMe = mentions.some((mention) => mention.isMe && mention.name.toLowerCase() === part.toLowerCase());
    return <bdi class={isMe ? "mention me-mention" : "mention"}>@{part}</bdi>;
  });
}

/** Marks the words of a search. */
function marked(text: string, words: readonly string[]): ComponentChildren[] {
  if (words.length === 0) return [text];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&"));
  // A group that captures keeps the words among the parts, at the odd places.
  const parts = text.split(new RegExp(`(${escaped.join("|")})`, "giu"));
  return parts.map((part, index) => (index % 2 === 1 ? <mark>{part}</mark> : part));
}
