import type { Restriction, Room } from "@chat-core/client";
import type { JSX } from "preact";
import { moment } from "../model/format.ts";
import { notice, reason } from "../model/notice.ts";
import type { Texts } from "../model/texts.ts";
import { useSession } from "../ui/context.ts";

interface Props {
  readonly room: Room;
  readonly restricted: Restriction | undefined;
  readonly t: Texts;
}

/** A restriction with an end, or of before the first loaded entry, ends without an event: the user can ask for that. */
export function NoWriting({ room, restricted, t }: Props): JSX.Element {
  const { chat } = useSession();
  const until = restricted?.until;
  const ask = () => chat.request({ type: "join", room: room.name }).catch((error) => notice.set(reason(t, error)));
  return (
    <p class="no-writing" role="status">
      {restricted === undefined
        ? t.mayNotWrite
        : until === undefined
          ? t.refusal("muted")
          : t.mutedUntil(moment(until))}
      {(restricted === undefined || until !== undefined) && (
        <button type="button" class="text-button" onClick={() => void ask()}>
          {t.askAgain}
        </button>
      )}
    </p>
  );
}
