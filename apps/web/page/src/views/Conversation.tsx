import { ChatError, type Message, type Room, type RoomState } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, place } from "../model/place.ts";
import { panel, toggle } from "../model/panel.ts";
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
import { PeoplePanel } from "./PeoplePanel.tsx";
import { SearchPanel } from "./SearchPanel.tsx";

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
  const shown = useSource(panel);
  const target = useSource(place)?.seq;
  const list = useRef<ListHandle>(null);
  const [mode, setMode] = useState<Mode>();
  const isOnline = chat.status === "online";

  // The list starts when the room is complete, because the first view depends on what is unread.
  const [isReady, setReady] = useState(state.status === "live");
  useEffect(() => {
    if (state.status === "live") setReady(true);
  }, [state.status]);
  const seenAtFirst = useMemo(() => (isReady ? firstSeen() : undefined), [isReady]);
  function firstSeen(): number | undefined {
    const seen = session.seen.of(state);
    // Everything in a room that this browser opens for the first time counts as seen.
    if (seen === undefined) session.seen.mark(state);
    return seen;
  }

  useEffect(() => {
    if (target !== undefined) list.current?.goTo(target);
  }, [target]);

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
  return (
    <div class="conversation">
      <main class="main">
        <header class="bar">
          <IconButton icon="menu" label={t.openRooms} class="menu-button" onClick={onMenu} />
          <div class="bar-title">
            <h1 class="clip" dir="auto">
              {room.name}
            </h1>
          </div>
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
          <IconButton icon="search" label={t.search} shortcut="Ctrl K" pressed={shown === "search"} onClick={() => toggle("search")} />
          <IconButton
            icon="link"
            label={t.copyLink}
            class="wide-only"
            onClick={() => copy(address(room.name), t.linkCopied)}
          />
          <IconButton icon="hood" label={t.hood} shortcut="Ctrl ." pressed={shown === "hood"} onClick={() => toggle("hood")} />
        </header>
        <Banner room={state} />
        {isReady ? (
          <MessageList
            room={room}
            state={state}
            me={chat.user}
            actions={actions}
            isOnline={isOnline}
            target={target}
            handle={list}
            seenAtFirst={seenAtFirst}
          />
        ) : (
          <Waiting state={state} />
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
        <Composer
          room={room}
          maxBytes={chat.limits?.max_body ?? 4096}
          mode={mode}
          isOffline={!isOnline}
          onDone={() => setMode(undefined)}
          onRefused={refuse}
          onLeaveUp={() => list.current?.focusLast()}
        />
      </main>
      {shown === "people" && <PeoplePanel state={state} me={chat.user?.id ?? ""} />}
      {shown === "search" && <SearchPanel key={room.name} room={room} />}
      {shown === "hood" && <HoodPanel room={room.name} />}
    </div>
  );
}

function Waiting({ state }: { readonly state: RoomState }): JSX.Element {
  const t = useTexts();
  return (
    <div class="list waiting">
      {state.status === "refused" ? (
        <p role="alert">
          {t.refused} {state.error !== undefined && t.refusal(state.error.code)}
        </p>
      ) : (
        <p>{t.joining}</p>
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
const EVERYBODY = ["edit", "delete", "react"];

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
    ...(offered.has("reply") && { reply: (message: Message) => setMode({ reply: message }) }),
    ...(offered.has("edit") && { edit: (message: Message) => setMode({ edit: message }) }),
    ...(offered.has("delete") && { remove: ({ seq }: Message) => void room.delete(seq).catch(refuse) }),
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
