import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { moment } from "../model/format.ts";
import { notice } from "../model/notice.ts";
import { settings } from "../model/settings.ts";
import { visit } from "../model/place.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";

/** Tells of new messages where the list cannot: to screen readers, in the title, and in notifications by choice. */
export function Announcer({ current }: { readonly current: string }): JSX.Element {
  const t = useTexts();
  const session = useSession();
  const list = useSource(session.directory.list);
  useSource(session.chat);
  const { rooms } = session.chat;
  const [said, setSaid] = useState("");

  const sum = (rooms: typeof list) => rooms.reduce((all, entry) => all + session.unread(entry).unread, 0);
  const showCount = () => {
    const count = sum(list);
    // On a phone, the list is not in view.
    document.body.classList.toggle("has-unread", sum(list.filter(({ room }) => room !== current)) > 0);
    document.title = `${count === 0 ? "" : `(${count > 99 ? "99+" : count}) `}${session.nameOf(current)} · ${t.appName}`;
  };
  const latest = useRef(showCount);
  latest.current = showCount;
  useEffect(showCount, [list, current, t]);

  useEffect(() => {
    const ends = [...rooms].flatMap(([name, room]) => {
      // What a join replays is on the screen, and would be too much to read aloud.
      let replayed = room.state.cursor?.seq ?? 0;
      let { may, role: known } = room.state;
      let newRole = "";
      return [
        room.on("joined", ({ seq }) => {
          replayed = seq;
        }),
        room.subscribe((state) => {
          latest.current();
          const isFree = may?.includes("send") === false && state.may?.includes("send") === true;
          ({ may, role: known } = state);
          // After a new role, that is what the user wants to know.
          if (isFree && (newRole === "" || notice.state !== newRole)) notice.set(t.mayWriteAgain(session.nameOf(name)));
        }),
        room.on("role", ({ seq, user, role, restricted }) => {
          if (user.id !== session.me || seq <= replayed) return;
          // The end of a restriction is announced when the rights are here.
          if (restricted === undefined && role === known) return;
          const until = restricted?.until;
          const said = t.standing(session.nameOf(name), role, restricted?.what, until === undefined ? undefined : moment(until));
          newRole = restricted === undefined ? said : "";
          notice.set(said);
        }),
        room.on("message", ({ seq, user, body, deleted }) => {
          if (seq <= replayed || user.id === session.me || deleted !== undefined) return;
          const text = body?.text ?? t.unknownBody;
          if (name === current) setSaid(t.said(user.name, text));
          if (document.visibilityState === "hidden") notify(name, session.nameOf(name), user.name, text);
        }),
      ];
    });
    // A room that this tab is not in says only how much is unread.
    ends.push(
      session.chat.on("activity", ({ room, unread, with: user }) => {
        if (unread === 0) return;
        // A direct message is for this user alone.
        if (user !== undefined) setSaid(t.said(user.name, t.unread(unread)));
        if (document.visibilityState === "hidden") notify(room, session.nameOf(room), t.appName, t.unread(unread));
      }),
    );
    return () => {
      for (const end of ends) end();
    };
  }, [rooms, current, t]);

  return (
    <div class="hidden" aria-live="polite">
      {said}
    </div>
  );
}

function notify(room: string, called: string, name: string, text: string): void {
  if (!settings.state.notify || !("Notification" in window) || Notification.permission !== "granted") return;
  // The tag lets a newer message replace the older one of the room.
  const shown = new Notification(`${name} · ${called}`, { body: text, tag: room });
  shown.addEventListener("click", () => {
    window.focus();
    visit(room);
  });
}
