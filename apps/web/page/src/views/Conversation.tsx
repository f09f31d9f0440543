import { ChatError, type Message, type Room, type User } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, isDirect, place } from "../model/place.ts";
import { openThread, panel, toggle } from "../model/panel.ts";
import { notice, reason } from "../model/notice.ts";
import type { Session } from "../model/session.ts";
import type { Texts } from "../model/texts.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";
import { Avatar } from "../ui/Avatar.tsx";
import { IconButton } from "../ui/icons.tsx";
import { Banner } from "./Banner.tsx";
import { Composer, type Mode } from "./Composer.tsx";
import { HoodPanel } from "./HoodPanel.tsx";
import { type ListHandle, MessageList } from "./MessageList.tsx";
import type { Actions } from "./MessageRow.tsx";
import { NoWriting } from "./NoWriting.tsx";
import { PeoplePanel } from "./PeoplePanel.tsx";
import { PinsPanel } from "./PinsPanel.tsx";
import { Refused } from "./Refused.tsx";
import { SearchPanel } from "./SearchPanel.tsx";
import { ThreadPanel } from "./ThreadPanel.tsx";

interface Props {
  readonly room: Room;
  readonly onMenu: () => void;
}

/** One room: its header, its messages, its text field, and the panel beside them. */
export function Conversation({ room, onMenu }: Props): JSX.Element {
  const t = useTexts();
  const session = useSession();
  const state = useSource(room);
  const chat = useSource(session.chat);
  const wasRefused = useRef(false);
  if (state.status === "refused") wasRefused.current = true;
  else if (state.status === "live") wasRefused.current = false;
  // Also while the server is asked again.
  const isRefused = wasRefused.current;
  const chosen = useSource(panel);
  const shown = isRefused && chosen !== "hood" ? undefined : chosen;
  const record = session.record(room);
  const { acts, seen } = useSource(record.state);
  // The list may have the name before the room is here.
  useSource(session.directory.list);
  const name = session.nameOf(room.name);
  const target = useSource(place)?.seq;
  const list = useRef<ListHandle>(null);
  const [mode, setMode] = useState<Mode>();
  const isOnline = chat.status === "online";

  // The list starts when the room is complete, because the first view depends on what is unread.
  const [isReady, setReady] = useState(state.status === "live");
  useEffect(() => {
    if (state.status === "live") setReady(true);
  }, [state.status]);
  // A user without a marker opens the room for the first time: everything would be new.
  const readAtFirst = useMemo(() => (isReady && state.read > 0 ? state.read : undefined), [isReady]);

  useEffect(() => {
    if (target !== undefined) list.current?.goTo(target);
  }, [target]);

  // A thread belongs to its room.
  useEffect(
    () => () => {
      if (openThread(panel.state) !== undefined) panel.set(undefined);
    },
    [],
  );
  const thread = openThread(shown);
  const mayWrite = !isRefused && state.may?.includes("send") !== false;
  const members = useRef(state.members);
  members.current = state.members;
  const nameOf = useMemo(() => (id: string) => members.current.find((user) => user.id === id)?.name ?? id, []);

  const simple = useSource(session.simpleRooms);
  const may = simple.has(room.name) ? NOTHING : state.may;
  const refuse = useMemo(
    () =>
      (error: unknown, isShown = false) => {
        if (!isShown) notice.set(reason(t, error));
        if (error instanceof ChatError && LACKS.has(error.code)) session.lacksActions(room.name);
      },
    [room, t],
  );
  const actions = useMemo(() => actionsOf(session, room, may, setMode, list, refuse, t), [session, room, may, refuse, t]);
  const writeTo = actions.writeTo;
  return (
    <div class="conversation">
      <main class="main">
        <header class="bar">
          <IconButton icon="menu" label={t.openRooms} class="menu-button" onClick={onMenu} />
          <div class="bar-title">
            <h1 class={isDirect(room.name) ? "clip person" : "clip"} dir="auto">
              {name}
            </h1>
            {state.title !== undefined && <bdi class="clip muted">{room.name}</bdi>}
          </div>
          {!isRefused && (
            <>
              <button
                type="button"
                class="people-button"
                aria-pressed={shown === "people"}
                aria-label={`${t.people}: ${state.count}`}
                title={t.peopleHere(state.count)}
                onClick={() => toggle("people")}
              >
                <span class="faces" aria-hidden="true">
                  {state.members.slice(0, 3).map((user) => (
                    <Avatar key={user.id} user={user} small />
                  ))}
                </span>
                {state.count}
              </button>
              {(state.pins.length > 0 || shown === "pins") && (
                <IconButton
                  icon="pin"
                  label={`${t.pins}: ${state.pins.length}`}
                  pressed={shown === "pins"}
                  onClick={() => toggle("pins")}
                />
              )}
              <IconButton icon="search" label={t.search} shortcut="Ctrl K" pressed={shown === "search"} onClick={() => toggle("search")} />
            </>
          )}
          <IconButton
            icon="link"
            label={t.copyLink}
            class="wide-only"
            onClick={() => copy(address(room.name), t.linkCopied)}
          />
          <IconButton icon="hood" label={t.hood} shortcut="Ctrl ." pressed={shown === "hood"} onClick={() => toggle("hood")} />
        </header>
        <Banner room={state} />
        {isRefused ? (
          <Refused state={state} me={chat.user} actions={actions} isOnline={isOnline} onRetry={() => session.retry(room.name)} />
        ) : isReady ? (
          <MessageList
            room={room}
            state={state}
            me={chat.user}
            actions={actions}
            isOnline={isOnline}
            target={target}
            handle={list}
            readAtFirst={readAtFirst}
            nameOf={nameOf}
            acts={acts}
            name={name}
            seen={seen}
          />
        ) : (
          <div class="list waiting">
            <p>{t.joining}</p>
          </div>
        )}
        <p class="typing" aria-live="off">
          {state.typing.length > 0 && (
            <>
              <span class="dots" aria-hidden="true">
                <i />
                <i />
                <i />
              </span>
              <span class="clip">{t.typing(state.typing.map(({ name }) => name))}</span>
            </>
          )}
        </p>
        {mayWrite ? (
          <Composer
            room={room}
            name={name}
            maxBytes={chat.limits?.max_body ?? 4096}
            mode={mode}
            isOffline={!isOnline}
            onDone={() => setMode(undefined)}
            onRefused={refuse}
            onLeaveUp={() => list.current?.focusLast()}
          />
        ) : isRefused ? (
          <p class="no-writing">{t.mayNotWrite}</p>
        ) : (
          <NoWriting room={room} restricted={state.restricted} t={t} />
        )}
      </main>
      {shown === "people" && <PeoplePanel room={room} state={state} me={chat.user?.id ?? ""} writeTo={writeTo} />}
      {shown === "search" && <SearchPanel key={room.name} room={room} />}
      {shown === "hood" && <HoodPanel room={room.name} />}
      {shown === "pins" && <PinsPanel room={room} state={state} actions={actions} />}
      {thread !== undefined && (
        <ThreadPanel
          key={thread}
          room={room}
          root={thread}
          mayWrite={mayWrite}
          me={chat.user}
          actions={actions}
          isOnline={isOnline}
          maxBytes={chat.limits?.max_body ?? 4096}
          nameOf={nameOf}
          onRefused={refuse}
        />
      )}
    </div>
  );
}

function copy(text: string, done: string): void {
  // A page without TLS on another machine has no clipboard.
  if (navigator.clipboard === undefined) notice.set(text);
  else void navigator.clipboard.writeText(text).then(() => notice.set(done));
}

/** What everybody may do, if the server does not say what this user may do. */
const EVERYBODY = ["send", "edit", "delete", "react"];

const NOTHING: readonly string[] = [];

/** The refusals of a server that does not have an action, whoever asks for it. */
const LACKS = new Set(["unsupported", "unknown_type"]);

function actionsOf(
  session: Session,
  room: Room,
  may: readonly string[] = EVERYBODY,
  setMode: (mode: Mode) => void,
  list: { readonly current: ListHandle | null },
  refuse: (error: unknown) => void,
  t: Texts,
): Actions {
  // The message itself shows that sending it has failed.
  const ignore = () => undefined;
  const offered = new Set(may);
  return {
    copyLink: ({ seq }: Message) => copy(address(room.name, seq), t.linkCopied),
    retry: (key) => void room.retry(key).catch(ignore),
    discard: (key) => room.discard(key),
    goTo: (seq) => list.current?.goTo(seq),
    own: session.reactions.of(room.name),
    // Guests prove nothing, so they have no direct rooms.
    ...(!session.isGuest && !isDirect(room.name) && {
      writeTo: (user: User) => void session.writeTo(user).catch((error) => notice.set(reason(t, error))),
    }),
    ...(offered.has("send") && {
      reply: (message: Message) => setMode({ reply: message }),
      thread: (root: number) => panel.set({ thread: root }),
    }),
    ...(offered.has("edit") && { edit: (message: Message) => setMode({ edit: message }) }),
    ...(offered.has("delete") && { remove: ({ seq }: Message) => void room.delete(seq).catch(refuse) }),
    ...(offered.has("delete_others") && { removeOther: ({ seq }: Message) => void room.delete(seq).catch(refuse) }),
    ...(offered.has("react") && {
      react: ({ seq }: Message, reaction: string, on: boolean) =>
        void room
          .react(seq, reaction, on)
          .then(() => session.reactions.set(room.name, seq, reaction, on))
          .catch(refuse),
    }),
    ...(offered.has("pin") && { pin: ({ seq }: Message, on: boolean) => void room.pin(seq, on).catch(refuse) }),
  };
}
