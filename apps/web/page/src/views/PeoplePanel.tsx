import type { RoomState } from "@chat-core/client";
import type { JSX } from "preact";
import { Avatar } from "../ui/Avatar.tsx";
import { useTexts } from "../ui/context.ts";
import { PanelFrame } from "./PanelFrame.tsx";

/** A list longer than this is for a search, not for the eye. */
const SHOWN = 200;

export function PeoplePanel({ state, me }: { readonly state: RoomState; readonly me: string }): JSX.Element {
  const t = useTexts();
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
            {state.typing.some(({ id }) => id === user.id) && <span class="dots" aria-hidden="true"><i /><i /><i /></span>}
          </li>
        ))}
      </ul>
    </PanelFrame>
  );
}
