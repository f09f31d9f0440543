import type { Room, RoomState, User } from "@chat-core/client";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Avatar } from "../ui/Avatar.tsx";
import { useTexts } from "../ui/context.ts";
import { IconButton } from "../ui/icons.tsx";
import { ModerationForm } from "./ModerationForm.tsx";
import { PanelFrame } from "./PanelFrame.tsx";

/** A list longer than this is for a search, not for the eye. */
const SHOWN = 200;

interface Props {
  readonly room: Room;
  readonly state: RoomState;
  readonly me: string;
  readonly writeTo: ((user: User) => void) | undefined;
}

export function PeoplePanel({ room, state, me, writeTo }: Props): JSX.Element {
  const t = useTexts();
  const [chosen, setChosen] = useState("");
  const may = state.may ?? [];
  const isModerator = may.includes("restrict") || may.includes("role");
  return (
    <PanelFrame title={t.people}>
      <p class="muted">{t.peopleHere(state.count)}</p>
      {state.presence === "count" && <p class="muted">{t.peopleCounted}</p>}
      <ul class="people">
        {state.members.slice(0, SHOWN).map((user) => (
          <li key={user.id}>
            <Avatar user={user} small />
            <bdi class="clip">{user.name}</bdi>
            {user.id === me && <span class="muted">({t.you})</span>}
            {user.id === me && state.role !== undefined && state.role !== "none" && (
              <span class="muted">{t.roles[state.role]}</span>
            )}
            {state.typing.some(({ id }) => id === user.id) && <span class="dots" aria-hidden="true"><i /><i /><i /></span>}
            {writeTo !== undefined && user.id !== me && (
              <IconButton icon="thread" label={t.write(user.name)} class="push" onClick={() => writeTo(user)} />
            )}
            {isModerator && user.id !== me && (
              <IconButton icon="settings" label={t.moderate(user.name)} class="push" onClick={() => setChosen(user.id)} />
            )}
          </li>
        ))}
      </ul>
      {isModerator && <ModerationForm room={room} may={may} user={chosen} onUser={setChosen} />}
    </PanelFrame>
  );
}
