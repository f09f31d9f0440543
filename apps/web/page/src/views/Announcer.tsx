import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { fullTime } from "../model/format.ts";
import { notice } from "../model/notice.ts";
import { settings } from "../model/settings.ts";
import { knownRooms } from "../model/known.ts";
import { visit } from "../model/place.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";

/** Tells of new messages where the list cannot: to screen readers, in the title, and in notifications by choice. */
export function Announcer({ current }: { readonly current: string }): JSX.Element {
  const t = useTexts();
  const session = useSession();
  const names = useSource(knownRooms);
  const [said, setSaid] = useState("");

  useEffect(() => {
    const ends = names.flatMap((name) => {
      const room = session.find(name);
      if (room === undefined) return [];
      // What a join replays is on the screen, and would be too much to read aloud.
      let replayed = room.state.cursor?.seq ?? 0;
      return [
        room.on("joined", ({ seq }) => {
          replayed = seq;
        }),
        room.subscribe(() => showCount()),
        room.on("role", ({ seq, user, role, restricted }) => {
          if (user.id !== session.me || seq <= replayed) return;
          const until = restricted?.until;
          notice.set(t.standing(name, role, restricted?.what, until === undefined ? undefined : fullTime(until)));
        }),
        room.on("message", ({ seq, user, body, deleted }) => {
          if (seq <= replayed || user.id === session.me || deleted !== undefined) return;
          const text = body?.text ?? t.unknownBody;
          if (name === current) setSaid(t.said(user.name, text));
          if (document.visibilityState === "hidden") notify(name, user.name, text);
        }),
      ];
    });
    function showCount(): void {
      const sum = names.reduce((all, name) => all + (session.find(name)?.state.unread ?? 0), 0);
      document.title = `${sum === 0 ? "" : `(${sum > 99 ? "99+" : sum}) `}${current} · ${t.appName}`;
    }
    return () => {
      for (const end of ends) end();
    };
  }, [names, current, t]);

  return (
    <div class="hidden" aria-live="polite">
      {said}
    </div>
  );
}

function notify(room: string, name: string, text: string): void {
  if (!settings.state.notify || !("Notification" in window) || Notification.permission !== "granted") return;
  // The tag lets a newer message replace the older one of the room.
  const shown = new Notification(`${name} · ${room}`, { body: text, tag: room });
  shown.addEventListener("click", () => {
    window.focus();
    visit(room);
  });
}
