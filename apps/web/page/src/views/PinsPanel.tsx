import type { Message, Room, RoomState } from "@chat-core/client";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { day, time } from "../model/format.ts";
import { useTexts } from "../ui/context.ts";
import { Avatar } from "../ui/Avatar.tsx";
import { Text } from "../ui/Text.tsx";
import { IconButton } from "../ui/icons.tsx";
import type { Actions } from "./MessageRow.tsx";
import { PanelFrame } from "./PanelFrame.tsx";

interface Props {
  readonly room: Room;
  readonly state: RoomState;
  readonly actions: Actions;
}

/** The pinned messages of a room, also those that the list has not loaded. */
export function PinsPanel({ room, state, actions }: Props): JSX.Element {
  const t = useTexts();
  const [read, setRead] = useState<readonly Message[]>([]);
  const held = state.messages.filter(({ pinned }) => pinned);
  const seqs = state.pins.filter((seq) => !held.some((message) => message.seq === seq));
  useEffect(() => {
    let isWanted = true;
    if (seqs.length === 0) return undefined;
    room.history({ seqs }).then(
      ({ messages }) => isWanted && setRead(messages),
      // Offline: the next change of the pins, or the next visit, reads them.
      () => undefined,
    );
    return () => {
      isWanted = false;
    };
  }, [String(seqs), state.status]);

  const shown = [...held, ...read.filter(({ seq }) => seqs.includes(seq))].sort((a, b) => b.seq - a.seq);
  return (
    <PanelFrame title={t.pins}>
      {state.pins.length === 0 && <p class="muted">{t.noPins}</p>}
      <ol class="results">
        {shown.map((message) => (
          <li key={message.seq} class="pin-item">
            <button type="button" class="pin-text" title={t.jump} onClick={() => actions.goTo(message.seq)}>
              <span class="meta">
                <Avatar user={message.user} small />
                <bdi class="author clip">{message.user.name}</bdi>
                <time>{`${day(message.at)} ${time(message.at)}`}</time>
              </span>
              <Text text={message.body?.text ?? t.unknownBody} mark={[]} />
            </button>
            {actions.pin !== undefined && (
              <IconButton icon="close" label={t.unpin} onClick={() => actions.pin?.(message, false)} />
            )}
          </li>
        ))}
      </ol>
    </PanelFrame>
  );
}
