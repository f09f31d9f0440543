import type { Command, Room } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { notice, reason } from "../model/notice.ts";
import type { Texts } from "../model/texts.ts";
import { useSession, useTexts } from "../ui/context.ts";

/** What the form can do to a user. An owner gives roles up to that of a moderator. */
const ACTS = ["mute-hour", "mute", "ban", "free", "member", "moderator", "none", "purge"] as const;

type Act = (typeof ACTS)[number];

const HOUR_MS = 3_600_000;

interface Props {
  readonly room: Room;
  readonly may: readonly string[];
  /** The user who was chosen in the list, if any. */
  readonly user: string;
  readonly onUser: (user: string) => void;
}

/** Restrictions, roles and the messages of one user. The user need not be in the room, as one who was removed is not. */
export function ModerationForm({ room, may, user, onUser }: Props): JSX.Element {
  const t = useTexts();
  const { chat } = useSession();
  const acts = ACTS.filter((act) => may.includes(act in t.restrictions ? "restrict" : act === "purge" ? act : "role"));
  const [act, setAct] = useState<Act>(acts[0] ?? "member");
  const [problem, setProblem] = useState("");
  const choice = useRef<HTMLSelectElement>(null);
  useEffect(() => {
    setProblem("");
    if (user !== "") choice.current?.focus();
  }, [user]);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const id = user.trim();
    if (id === "" || (act === "purge" && !confirm(t.purgeSure(id)))) return;
    try {
      await chat.request(commandOf(room.name, id, act));
      setProblem("");
      notice.set(t.acted(id, nameOf(act, t)));
    } catch (error) {
      setProblem(reason(t, error));
    }
  };
  return (
    <form class="moderation" onSubmit={(event) => void submit(event)}>
      <h3>{t.moderation}</h3>
      <label>
        {t.userId}
        <input value={user} onInput={({ currentTarget }) => onUser(currentTarget.value)} maxLength={255} dir="auto" />
      </label>
      <label>
        {t.act}
        <select ref={choice} value={act} onChange={({ currentTarget }) => setAct(currentTarget.value as Act)}>
          {acts.map((each) => (
            <option key={each} value={each}>
              {nameOf(each, t)}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="button primary">
        {t.apply}
      </button>
      <p class="bad" role="status">
        {problem}
      </p>
    </form>
  );
}

function nameOf(act: Act, t: Texts): string {
  return { ...t.restrictions, ...t.roles, purge: t.purge }[act];
}

function commandOf(room: string, user: string, act: Act): Command<"restrict" | "role" | "purge"> {
  switch (act) {
    case "mute-hour":
      return { type: "restrict", room, user, what: "mute", until: Date.now() + HOUR_MS };
    case "mute":
    case "ban":
      return { type: "restrict", room, user, what: act };
    case "purge":
      return { type: "purge", room, user };
    case "free":
      return { type: "restrict", room, user, what: "none" };
    default:
      return { type: "role", room, user, role: act };
  }
}
