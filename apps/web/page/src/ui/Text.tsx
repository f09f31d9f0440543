import type { ComponentChildren, JSX } from "preact";
import { isEmojiOnly } from "../model/format.ts";

/** Only addresses with a scheme: a guess would make links of words. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/giu;
/** Punctuation after an address belongs to the sentence. */
const TAIL = /[.,;:!?)\]]+$/u;

/**
 * The text of a message. It is only ever text: the parts are text nodes, and the address of a link is checked by the
 * URL parser. With words to mark, the text is part of a link, and has none itself.
 */
export function Text({ text, mark }: { readonly text: string; readonly mark?: readonly string[] }): JSX.Element {
  return (
    <div class={isEmojiOnly(text) ? "text big" : "text"} dir="auto">
      {mark === undefined ? linked(text) : marked(text, mark)}
    </div>
  );
}

function linked(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const address = found[0].replace(TAIL, "");
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(end, found.index));
    end = found.index + address.length;
    parts.push(
      <a href={new URL(address).href} target="_blank" rel="noopener noreferrer nofollow">
        {address}
      </a>,
    );
  }
  parts.push(text.slice(end));
  return parts;
}

/** Marks the words of a search. */
function marked(text: string, words: readonly string[]): ComponentChildren[] {
  if (words.length === 0) return [text];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&"));
  // A group that captures keeps the words among the parts, at the odd places.
  const parts = text.split(new RegExp(`(${escaped.join("|")})`, "giu"));
  return parts.map((part, index) => (index % 2 === 1 ? <mark>{part}</mark> : part));
}
