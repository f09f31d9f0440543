import type { RoomState, User } from "@chat-core/client";
import type { JSX } from "preact";
import { buildRows } from "../model/rows.ts";
import { useTexts } from "../ui/context.ts";
import { type Actions, MessageRow } from "./MessageRow.tsx";

interface Props {
  readonly state: RoomState;
  readonly me: User | undefined;
  readonly actions: Actions;
  readonly isOnline: boolean;
  readonly onRetry: () => void;
}

/** The reason of a refusal, and the messages that were not sent. */
export function Refused({ state, me, actions, isOnline, onRetry }: Props): JSX.Element {
  const t = useTexts();
  const { status, error, pending } = state;
  const code = error?.code ?? "forbidden";
  return (
    <div class="list waiting">
      <p>
        <span role="alert">{status !== "refused" ? t.joining : code === "forbidden" ? t.refused : t.refusal(code)}</span>
        <button type="button" class="text-button" onClick={onRetry}>
          {t.tryAgain}
        </button>
      </p>
      {buildRows({ messages: [], acts: [], pending, me, freshAfter: undefined }).map((row) => (
        <article key={row.key} class="row">
          <MessageRow row={row} me={row.user.id} t={t} actions={actions} isOnline={isOnline} isTarget={false} find={nothing} nameOf={String} />
        </article>
      ))}
    </div>
  );
}

const nothing = () => undefined;
