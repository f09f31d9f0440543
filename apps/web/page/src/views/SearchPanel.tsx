import { ChatError, type Message, type Room } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { day, time } from "../model/format.ts";
import { link, visit } from "../model/place.ts";
import { panel } from "../model/panel.ts";
import { useTexts } from "../ui/context.ts";
import { Avatar } from "../ui/Avatar.tsx";
import { Text } from "../ui/Text.tsx";
import { Icon } from "../ui/icons.tsx";
import { PanelFrame } from "./PanelFrame.tsx";

interface Found {
  readonly query: string;
  readonly messages: readonly Message[];
  readonly more: boolean;
}

/** A pause in typing that means a wish to search. */
const PAUSE_MS = 250;
const NARROW = "(max-width: 860px)";

export function SearchPanel({ room }: { readonly room: Room }): JSX.Element {
  const t = useTexts();
  const [query, setQuery] = useState("");
  const [found, setFound] = useState<Found>();
  const [problem, setProblem] = useState<string>();
  const newest = useRef("");

  const search = async (wanted: string, before?: number) => {
    try {
      const page = await room.search(wanted, before === undefined ? {} : { before });
      // A slow answer must not replace that of a newer query.
      if (newest.current !== wanted) return;
      setProblem(undefined);
      setFound((known) => ({
        query: wanted,
        messages: before === undefined ? page.messages : [...(known?.messages ?? []), ...page.messages],
        more: page.more,
      }));
    } catch (error) {
      if (newest.current !== wanted) return;
      const code = error instanceof ChatError ? error.code : "unavailable";
      setProblem(code === "unsupported" ? t.noSearch : t.refusal(code));
    }
  };

  useEffect(() => {
    const wanted = query.trim();
    newest.current = wanted;
    if (wanted === "") {
      setFound(undefined);
      return undefined;
    }
    const timer = setTimeout(() => void search(wanted), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [query]);

  const words = found?.query.split(/\s+/u) ?? [];
  return (
    <PanelFrame title={t.search}>
      <label class="search-field">
        <Icon name="search" />
        <input
          type="search"
          value={query}
          onInput={({ currentTarget }) => setQuery(currentTarget.value)}
          placeholder={t.searchLabel}
          aria-label={t.searchLabel}
          aria-describedby="search-note"
          dir="auto"
          maxLength={80}
          data-first
        />
      </label>
      <p id="search-note" class="muted" role="status">
        {problem ?? (found === undefined ? t.searchHint : t.found(found.messages.length, found.more))}
      </p>
      <ol class="results">
        {found?.messages.map((message) => (
          <li key={message.seq}>
            <a
              href={link(room.name, message.seq)}
              onClick={(event) => {
                event.preventDefault();
                visit(room.name, message.seq);
                // The panel covers the message on a narrow screen.
                if (matchMedia(NARROW).matches) panel.set(undefined);
              }}
            >
              <span class="meta">
                <Avatar user={message.user} small />
                <bdi class="author clip">{message.user.name}</bdi>
                <time>{`${day(message.at)} ${time(message.at)}`}</time>
              </span>
              <Text text={message.body?.text ?? ""} mark={words} />
            </a>
          </li>
        ))}
      </ol>
      {found?.more === true && (
        <button type="button" class="button" onClick={() => void search(found.query, found.messages.at(-1)?.seq)}>
          {t.more}
        </button>
      )}
    </PanelFrame>
  );
}
