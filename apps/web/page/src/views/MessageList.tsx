import type { Room, RoomState, User } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Ref } from "preact";
import { identity } from "../model/identity.ts";
import { isRecord, tab } from "../model/memory.ts";
import type { Act, RecordState } from "../model/record.ts";
import { type Row, buildRows } from "../model/rows.ts";
import { Timeline } from "../model/timeline.ts";
import { type Anchor, type Edge, VirtualList } from "../ui/VirtualList.tsx";
import { useSession, useTexts } from "../ui/context.ts";
import { useIsWatched, useSource } from "../ui/hooks.ts";
import { IconButton } from "../ui/icons.tsx";
import { Intro } from "./Intro.tsx";
import { type Actions, MessageRow } from "./MessageRow.tsx";

export interface ListHandle {
  readonly goTo: (seq: number) => void;
  readonly goToEnd: () => void;
  readonly focusLast: () => void;
}

interface Props {
  readonly room: Room;
  readonly state: RoomState;
  readonly me: User | undefined;
  readonly actions: Actions;
  readonly isOnline: boolean;
  readonly target: number | undefined;
  readonly nameOf: (id: string) => string;
  readonly acts: readonly Act[];
  readonly seen: RecordState["seen"];
  /** The name of the room to show. */
  readonly name: string;
  readonly handle: Ref<ListHandle>;
  /** The last entry that was read when the room was opened. */
  readonly readAtFirst: number | undefined;
}

const keyOf = ({ key }: Row) => key;

/** About 24 px for each line of text, and the space for a name. A measured height replaces it. */
function estimate({ message, pending, act, isHead, startsDay }: Row, width: number): number {
  if (act !== undefined) return 32 + (startsDay ? 48 : 0);
  const text = (message?.body ?? pending?.body)?.text ?? "";
  const lines = Math.ceil((text.length * 8) / Math.max(200, Math.min(width - 88, 736))) || 1;
  return lines * 23 + (isHead ? 34 : 4) + (startsDay ? 48 : 0);
}

/** The place in the room where this tab was, for a reload. */
function storedPlace(room: string): { readonly seq: number; readonly edge: Edge } | undefined {
  const stored = tab.read(`place.${room}`);
  if (!isRecord(stored)) return undefined;
  const { seq, top, end } = stored;
  const edge = typeof end === "number" ? { end } : typeof top === "number" ? { top } : undefined;
  return typeof seq === "number" && edge !== undefined ? { seq, edge } : undefined;
}

export function MessageList(props: Props): JSX.Element {
  const { room, state, me, actions, isOnline, target, handle, readAtFirst, nameOf, acts, name, seen } = props;
  const t = useTexts();
  const timeline = useMemo(() => new Timeline(room), [room]);
  useEffect(() => () => timeline.end(), [timeline]);
  const { messages, older, newer } = useSource(timeline.state);
  const [freshAfter, setFreshAfter] = useState(readAtFirst);
  const [isAtEnd, setAtEnd] = useState(true);
  const [initial, setInitial] = useState<Anchor>();
  const [revealed, setRevealed] = useState<number>();
  const list = useRef<VirtualList<Row>>(null);
  const isWatched = useIsWatched();

  const pending = newer ? [] : state.pending;
  const rows = useMemo(() => {
    // Acts beyond the loaded messages are shown with those.
    const first = older ? (messages[0]?.seq ?? Infinity) : 0;
    const last = newer ? (messages.at(-1)?.seq ?? 0) : Infinity;
    const among = acts.filter(({ seq }) => seq > first && seq < last);
    return buildRows({ messages, acts: among, pending, me, freshAfter });
  }, [messages, acts, older, newer, pending, me, freshAfter]);
  const rowOf = (seq: number) => rows.find(({ message }) => message?.seq === seq);

  // The first view: a message that the address names, the place before a reload, the first unread message, or the end.
  useEffect(() => {
    const place = target === undefined ? storedPlace(room.name) : undefined;
    const seq = target ?? place?.seq;
    const fallBack = () => {
      const fresh = rows.find(({ isFresh }) => isFresh);
      setInitial(fresh === undefined ? { at: "end" } : { at: "row", key: fresh.key, top: 96 });
    };
    if (seq === undefined) return fallBack();
    timeline
      .goTo(seq)
      .then((isFound) => {
        const row = buildRows({ ...timeline.state.state, acts: [], pending: [], me, freshAfter }).find(
          ({ message }) => message?.seq === seq,
        );
        if (!isFound || row === undefined) return fallBack();
        setInitial({ at: "row", key: row.key, ...(place?.edge ?? { top: 160 }) });
        setAtEnd(false);
        if (target !== undefined) setRevealed(target);
      })
      .catch(fallBack);
  }, [timeline]);

  // What the user watches at the end of the list is read.
  const isSeeing = isWatched && isAtEnd && !newer && initial !== undefined && state.status === "live";
  useLayoutEffect(() => {
    if (isSeeing && (state.unread > 0 || state.read === 0)) room.read();
  }, [isSeeing, state.cursor]);

  // Messages that come while the user looks elsewhere get the line.
  useEffect(() => {
    if (!isSeeing && initial !== undefined) {
      setFreshAfter((present) => (state.unread === 0 ? state.cursor?.seq : present));
    }
  }, [isSeeing]);

  // The user's own message is an answer to all above it.
  const sends = state.pending.length;
  useEffect(() => {
    if (sends === 0) return;
    setFreshAfter(undefined);
    timeline.goToNewest();
    list.current?.go({ at: "end" });
  }, [sends]);

  const goTo = async (seq: number) => {
    if (!(await timeline.goTo(seq).catch(() => false))) return;
    setRevealed(seq);
  };
  const goToEnd = () => {
    timeline.goToNewest();
    setRevealed(undefined);
    list.current?.go({ at: "end" });
  };
  useLayoutEffect(() => {
    const row = revealed === undefined ? undefined : rowOf(revealed);
    if (row !== undefined) list.current?.reveal(row.key);
  }, [revealed]);

  const focusRow = (index: number) => {
    const row = rows[index];
    if (row !== undefined) list.current?.show(row.key)?.focus();
  };
  useImperativeHandle(handle, () => ({
    goTo: (seq) => {
      // The same message again is a wish to see it again.
      setRevealed(undefined);
      void goTo(seq);
    },
    goToEnd,
    focusLast: () => focusRow(rows.length - 1),
  }));

  const onKeyDown = (event: KeyboardEvent) => {
    const focused = event.target;
    if (!(focused instanceof HTMLElement) || !focused.matches(".row")) return;
    const index = rows.findIndex(({ key }) => key === focused.dataset["key"]);
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      if (index + step >= rows.length) document.getElementById("composer")?.focus();
      else focusRow(index + step);
    }
  };

  const latest = useRef({ rows, anchor: initial });
  latest.current.rows = rows;
  latest.current.anchor ??= initial;
  const onAnchor = (anchor: Anchor) => {
    // The user has scrolled.
    timeline.retry();
    setAtEnd(anchor.at === "end");
    latest.current.anchor = anchor;
  };
  useEffect(() => {
    const keep = () => {
      // The place of a person who has signed out is not kept.
      if (identity.state === undefined) return;
      const { rows, anchor } = latest.current;
      if (anchor?.at !== "row") return tab.write(`place.${room.name}`, null);
      const { at: _, key, ...edge } = anchor;
      const seq = rows.find((row) => row.key === key)?.message?.seq;
      tab.write(`place.${room.name}`, seq === undefined ? null : { seq, ...edge });
    };
    addEventListener("pagehide", keep);
    return () => {
      removeEventListener("pagehide", keep);
      keep();
    };
  }, [room]);
  const find = useMemo(
    () => (seq: number) => latest.current.rows.find(({ message }) => message?.seq === seq)?.message,
    [],
  );

  // The first steps are true where everybody may come and write.
  const { isGuest } = useSession();
  const isOpen = isGuest && (state.role ?? "none") === "none" && state.may?.includes("send") !== false;
  // Receipts stand below the user's newest message only.
  const own = messages.findLast(({ user }) => user.id === me?.id)?.seq ?? Infinity;
  const seenBy = [...seen.values()].filter(({ seq }) => seq >= own).map((reader) => reader.name);
  const waiting = isAtEnd && !newer ? 0 : state.unread;
  if (initial === undefined) return <div class="list" />;
  return (
    <div class="list-frame" onKeyDown={onKeyDown}>
      <VirtualList
        handle={list}
        rows={rows}
        keyOf={keyOf}
        estimate={estimate}
        initial={initial}
        label={t.messages(name)}
        header={older ? <p class="list-note">{t.loadingOlder}</p> : <Intro room={room.name} name={name} isNew={messages.length < 12 && isOpen} />}
        onAnchor={onAnchor}
        onNear={(end) => (end === "start" ? timeline.loadOlder() : timeline.loadNewer())}
        render={(row) => (
          <MessageRow
            row={row}
            me={me?.id ?? ""}
            t={t}
            actions={actions}
            isOnline={isOnline}
            isTarget={revealed !== undefined && row.message?.seq === revealed}
            seenBy={row.message?.seq === own ? seenBy.join(", ") : ""}
            find={find}
            nameOf={nameOf}
          />
        )}
      />
      {(!isAtEnd || newer) && (
        <div class="to-end">
          {waiting > 0 && <span class="badge">{waiting > 99 ? "99+" : waiting}</span>}
          <IconButton icon="down" label={waiting > 0 ? `${t.toNewest}: ${t.unread(waiting)}` : t.toNewest} onClick={goToEnd} />
        </div>
      )}
    </div>
  );
}
