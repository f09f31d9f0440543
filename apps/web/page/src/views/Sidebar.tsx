import { type Room, type RoomSummary, roomName } from "@chat-core/client";
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { reason } from "../model/notice.ts";
import { Cell } from "../model/store.ts";
import { isDirect, link, visit } from "../model/place.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";
import { Avatar } from "../ui/Avatar.tsx";
import { IconButton } from "../ui/icons.tsx";

interface Props {
  readonly current: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onSettings: () => void;
  readonly onShortcuts: () => void;
}

/** The rooms of the user, and the user. */
export function Sidebar({ current, isOpen, onClose, onSettings, onShortcuts }: Props): JSX.Element {
  const t = useTexts();
  const session = useSession();
  const list = useSource(session.directory.list);
  const people = list.filter(({ room }) => isDirect(room));
  const { user, status } = useSource(session.chat);
  const [isAdding, setAdding] = useState(false);
  return (
    <nav class={isOpen ? "sidebar open" : "sidebar"} aria-label={t.rooms}>
      <header class="bar">
        <h2 class="side-title">{t.rooms}</h2>
        <IconButton icon="plus" label={t.addRoom} pressed={isAdding} onClick={() => setAdding(!isAdding)} />
        <IconButton icon="close" label={t.closeRooms} class="menu-button" onClick={onClose} />
      </header>
      {isAdding && <AddRoom onDone={() => setAdding(false)} />}
      <ul class="rooms">
        {list.map(
          (entry) =>
            !isDirect(entry.room) && (
              <RoomItem key={entry.room} entry={entry} isCurrent={entry.room === current} canRemove={list.length > 1} />
            ),
        )}
        {people.length > 0 && (
          <li>
            <h3 class="side-heading">{t.directMessages}</h3>
            <ul>
              {people.map((entry) => (
                <RoomItem key={entry.room} entry={entry} isCurrent={entry.room === current} canRemove={list.length > 1} />
              ))}
            </ul>
          </li>
        )}
      </ul>
      <footer class="me">
        {user !== undefined && <Avatar user={user} small />}
        <span class="me-text">
          <bdi class="clip">{user?.name ?? "…"}</bdi>
          <span class={status === "online" ? "status up" : "status"}>
            <span class="lamp" aria-hidden="true" />
            {status === "online" ? t.online : status === "connecting" ? t.connecting : t.lineDown}
          </span>
        </span>
        <IconButton icon="keyboard" label={t.shortcuts} class="wide-only" onClick={onShortcuts} />
        <IconButton icon="settings" label={t.settings} onClick={onSettings} />
      </footer>
    </nav>
  );
}

interface ItemProps {
  readonly entry: RoomSummary;
  readonly isCurrent: boolean;
  readonly canRemove: boolean;
}

/** Stands for a room that this tab is not in. */
const NOWHERE = new Cell<undefined>(undefined);

function RoomItem({ entry, isCurrent, canRemove }: ItemProps): JSX.Element {
  const t = useTexts();
  const session = useSession();
  const room: Room | undefined = session.find(entry.room);
  useSource<unknown>(room ?? NOWHERE);
  const { unread, mentions } = session.unread(entry);
  const name = session.nameOf(entry.room);
  const user = room?.state.with ?? entry.with;
  const remove = () => {
    const next = session.directory.list.state.find((other) => other !== entry);
    if (next === undefined) return;
    // First, because the room that the address names is always in the list.
    if (isCurrent) visit(next.room);
    session.remove(entry.room);
  };
  return (
    <li class={isCurrent ? "room current" : unread > 0 ? "room fresh-room" : "room"}>
      <a href={link(entry.room)} aria-current={isCurrent ? "page" : undefined}>
        {user === undefined ? (
          <span class="hash" aria-hidden="true">
            #
          </span>
        ) : (
          <Avatar user={user} small />
        )}
        <bdi class="clip">{name}</bdi>
        {unread > 0 && (
          <>
            <span class={mentions > 0 ? "badge mentioned" : "badge"} aria-hidden="true">
              {mentions > 0 && "@ "}
              {unread > 99 ? "99+" : unread}
            </span>
            <span class="hidden">
              {t.unread(unread)}
              {mentions > 0 && `, ${t.mentioned(mentions)}`}
            </span>
          </>
        )}
      </a>
      {canRemove && <IconButton icon="close" label={t.removeRoom(name)} class="room-remove" onClick={remove} />}
    </li>
  );
}

function AddRoom({ onDone }: { readonly onDone: () => void }): JSX.Element {
  const t = useTexts();
  const { chat, isGuest } = useSession();
  const [name, setName] = useState("");
  const [hasRules, setRules] = useState(false);
  const [join, setJoin] = useState<"open" | "members">("open");
  const [post, setPost] = useState<"" | "members" | "moderators">("");
  const [title, setTitle] = useState("");
  const [receipts, setReceipts] = useState(false);
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.focus(), []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const room = roomName(name.trim().replace(/^#/u, "").replace(/\s+/gu, "-"));
    if (room === "") return field.current?.focus();
    try {
      if (hasRules) {
        const called = title.trim();
        await chat.request({
          type: "create",
          room,
          join,
          ...(post !== "" && { post }),
          ...(receipts && { receipts }),
          ...(called !== "" && { title: called }),
        });
      }
      visit(room);
      onDone();
    } catch (error) {
      setProblem(reason(t, error));
    }
  };
  return (
    <form class="add-room" onSubmit={(event) => void submit(event)}>
      <input
        ref={field}
        value={name}
        onInput={({ currentTarget }) => setName(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onDone();
        }}
        placeholder={t.roomName}
        aria-label={t.roomName}
        aria-describedby="room-hint"
        maxLength={64}
        dir="auto"
      />
      <button type="submit" class="button primary">
        {hasRules ? t.create : t.join}
      </button>
      <p id="room-hint" class="hint">
        {t.roomHint}
      </p>
      {/* A guest cannot own a room. */}
      {!isGuest && (
        <label class="check">
          <input type="checkbox" checked={hasRules} onChange={({ currentTarget }) => setRules(currentTarget.checked)} />
          {t.withRules}
        </label>
      )}
      {hasRules && (
        <>
          <label>
            {t.roomTitle}
            <input value={title} onInput={({ currentTarget }) => setTitle(currentTarget.value)} maxLength={60} dir="auto" />
          </label>
          <label>
            {t.whoJoins}
            <select value={join} onChange={({ currentTarget }) => setJoin(currentTarget.value as typeof join)}>
              <option value="open">{t.everybody}</option>
              <option value="members">{t.membersOnly}</option>
            </select>
          </label>
          <label>
            {t.whoWrites}
            <select value={post} onChange={({ currentTarget }) => setPost(currentTarget.value as typeof post)}>
              <option value="">{t.everybodyInside}</option>
              <option value="members">{t.membersOnly}</option>
              <option value="moderators">{t.moderatorsOnly}</option>
            </select>
          </label>
          <label class="check">
            <input type="checkbox" checked={receipts} onChange={({ currentTarget }) => setReceipts(currentTarget.checked)} />
            {t.withReceipts}
          </label>
        </>
      )}
      <p class="bad" role="status">
        {problem}
      </p>
    </form>
  );
}
