import type { RoomState } from "@chat-core/client";
import type { JSX } from "preact";
import { useSession, useTexts } from "../ui/context.ts";
import { useClock, useSource } from "../ui/hooks.ts";

/** The state of the connection, where it is not as the user expects. */
export function Banner({ room }: { readonly room: RoomState }): JSX.Element | null {
  const t = useTexts();
  const session = useSession();
  const { status, retryAt, error } = useSource(session.chat);
  const { cut } = useSource(session.line.state);
  const now = useClock(status === "waiting");
  if (status === "online") {
    return room.status === "resuming" ? (
      <div class="banner calm" role="status">
        {t.resuming}
      </div>
    ) : null;
  }
  const retry = (
    <button
      type="button"
      class="text-button"
      onClick={() => {
        session.line.restore();
        session.chat.reconnect();
      }}
    >
      {cut ? t.reconnectLine : t.tryAgain}
    </button>
  );
  if (status === "closed") {
    return (
      <div class="banner bad" role="alert">
        {t.refusal(error?.code ?? "closed")}
      </div>
    );
  }
  const seconds = retryAt === undefined ? 0 : Math.ceil((retryAt - now) / 1000);
  return (
    <div class="banner" role="status">
      {/* A text that changes each second would be read aloud each second. */}
      <span aria-hidden={status === "waiting" && !cut}>
        {cut ? t.held : status === "waiting" ? t.waiting(seconds) : t.connecting}
      </span>
      {status === "waiting" && !cut && <span class="hidden">{t.waiting(0)}</span>}
      {status === "waiting" && retry}
    </div>
  );
}
