import type { Message, Room, User } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { buildRows } from "../model/rows.ts";
import { Thread } from "../model/thread.ts";
import { useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";
import { Composer, type Mode } from "./Composer.tsx";
import { type Actions, MessageRow } from "./MessageRow.tsx";
import { PanelFrame } from "./PanelFrame.tsx";

interface Props {
  readonly room: Room;
  /** The message with which the thread begins. */
  readonly root: number;
  readonly mayWrite: boolean;
  readonly me: User | undefined;
  readonly actions: Actions;
  readonly isOnline: boolean;
  readonly maxBytes: number;
  readonly nameOf: (id: string) => string;
  readonly onRefused: (error: unknown, isShown: boolean) => void;
}

/** A thread beside the conversation, with a text field of its own. */
export function ThreadPanel({ room, root, mayWrite, me, actions, isOnline, maxBytes, nameOf, onRefused }: Props): JSX.Element {
  const t = useTexts();
  const thread = useMemo(() => new Thread(room, root), [room, root]);
  useEffect(() => () => thread.end(), [thread]);
  const state = useSource(thread.state);
  const { messages, pending, older, hasFailed } = state;
  const [mode, setMode] = useState<Mode>();
  const list = useRef<HTMLDivElement>(null);

  const all = useMemo(() => (state.root === undefined ? messages : [state.root, ...messages]), [state.root, messages]);
  const rows = useMemo(() => buildRows({ messages: all, pending, acts: [], me, freshAfter: undefined }), [all, pending, me]);

  // The newest message is shown, unless the user reads further up.
  const isAtEnd = useRef(true);
  const last = rows.at(-1)?.key;
  useLayoutEffect(() => {
    if (isAtEnd.current || pending.length > 0) list.current?.scrollTo(0, list.current.scrollHeight);
  }, [last, rows.length]);

  const rowOf = (key: string) => list.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
  const own = useMemo<Actions>(() => {
    const { thread: _, reply, edit, ...rest } = actions;
    return {
      ...rest,
      goTo: (seq) => {
        const row = rows.find(({ message }) => message?.seq === seq);
        if (row === undefined) return actions.goTo(seq);
        rowOf(row.key)?.scrollIntoView({ block: "center" });
        rowOf(row.key)?.focus();
      },
      ...(reply && { reply: (message: Message) => setMode({ reply: message }) }),
      ...(edit && { edit: (message: Message) => setMode({ edit: message }) }),
    };
  }, [actions, rows]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step === undefined || !(event.target instanceof HTMLElement) || !event.target.matches(".row")) return;
    event.preventDefault();
    const index = rows.findIndex(({ key }) => key === (event.target as HTMLElement).dataset["key"]);
    const next = rows[index + step];
    if (next !== undefined) rowOf(next.key)?.focus();
    else if (step > 0) document.getElementById("thread-composer")?.focus();
  };

  return (
    <PanelFrame title={t.thread} isWide>
      <div
        class="thread-list"
        ref={list}
        role="region"
        aria-label={t.thread}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          isAtEnd.current = scrollHeight - scrollTop - clientHeight < 8;
        }}
      >
        {(older || hasFailed) && (
          <button type="button" class="text-button" onClick={() => void thread.loadOlder()}>
            {hasFailed ? t.tryAgain : t.olderReplies}
          </button>
        )}
        {rows.map((row) => (
          <article key={row.key} data-key={row.key} class={row.message?.seq === root ? "row thread-root" : "row"} tabIndex={-1}>
            <MessageRow
              row={row}
              me={me?.id ?? ""}
              t={t}
              actions={own}
              isOnline={isOnline}
              isTarget={false}
              find={(seq) => all.find((message) => message.seq === seq)}
              nameOf={nameOf}
            />
          </article>
        ))}
      </div>
      {mayWrite && (
        <Composer
          key={root}
          room={room}
          thread={root}
          maxBytes={maxBytes}
          mode={mode}
          isOffline={!isOnline}
          onDone={() => setMode(undefined)}
          onRefused={onRefused}
          onLeaveUp={() => {
            const key = rows.at(-1)?.key;
            if (key !== undefined) rowOf(key)?.focus();
          }}
        />
      )}
    </PanelFrame>
  );
}
