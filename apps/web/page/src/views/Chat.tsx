import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { notice } from "../model/notice.ts";
import { panel, toggle } from "../model/panel.ts";
import { lastRoom, place, visit } from "../model/place.ts";
import { useSession } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";
import { Announcer } from "./Announcer.tsx";
import { Conversation } from "./Conversation.tsx";
import { SettingsDialog, ShortcutsDialog } from "./Dialogs.tsx";
import { Sidebar } from "./Sidebar.tsx";

/** The page of a user who is signed in. */
export function Chat(): JSX.Element {
  const session = useSession();
  const where = useSource(place);
  // The rooms that this tab is in are a part of it.
  useSource(session.chat);
  const text = useSource(notice);
  const [dialog, setDialog] = useState<"settings" | "shortcuts">();
  const [hasMenu, setMenu] = useState(false);
  const name = where?.room ?? lastRoom();

  useEffect(() => {
    if (where === undefined) visit(name);
  }, [where]);
  // Another room was chosen.
  useEffect(() => setMenu(false), [where]);

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.isComposing) return;
      const isCommand = (event.ctrlKey || event.metaKey) && !event.altKey;
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (isCommand && event.key === "k") panel.set("search");
      else if (isCommand && event.key === ".") toggle("hood");
      else if (isCommand && event.key === "/") setDialog("shortcuts");
      else if (event.altKey && step !== undefined) {
        const rooms = session.directory.list.state.map(({ room }) => room);
        visit(rooms[(rooms.indexOf(name) + step + rooms.length) % rooms.length] ?? name);
      } else if (event.key === "Escape" && dialog === undefined) {
        setMenu(false);
        document.getElementById("composer")?.focus();
        return;
      } else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [name, dialog]);

  const room = session.find(name);
  const close = () => setDialog(undefined);
  return (
    <div class="app">
      <Sidebar
        current={name}
        isOpen={hasMenu}
        onClose={() => setMenu(false)}
        onSettings={() => setDialog("settings")}
        onShortcuts={() => setDialog("shortcuts")}
      />
      {hasMenu && <div class="shade" onClick={() => setMenu(false)} />}
      {room && <Conversation key={name} room={room} onMenu={() => setMenu(true)} />}
      {dialog === "settings" && <SettingsDialog onClose={close} />}
      {dialog === "shortcuts" && <ShortcutsDialog onClose={close} />}
      <div class={text === "" ? "notice" : "notice shown"} role="status">
        {text}
      </div>
      <Announcer current={name} />
    </div>
  );
}
