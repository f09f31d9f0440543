import type { Mentions, Message, Room, User } from "@chat-core/client";
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes } from "../model/format.ts";
import { tab, text as storedText } from "../model/memory.ts";
import { type Started, candidates, mentionsIn, started } from "../model/mentions.ts";
import { reason } from "../model/notice.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { Icon, IconButton } from "../ui/icons.tsx";
import { EmojiPicker } from "./EmojiPicker.tsx";
import { MentionList } from "./MentionList.tsx";

/** The purpose of the text field, if it is not a new message. */
export type Mode = { readonly edit: Message } | { readonly reply: Message } | undefined;

interface Props {
  readonly room: Room;
  /** The thread that the messages belong to. */
  readonly thread?: number;
  /** The name of the room to show. Absent in a thread. */
  readonly name?: string;
  readonly maxBytes: number;
  readonly mode: Mode;
  readonly isOffline: boolean;
  readonly onDone: () => void;
  /** The server refused an edit. `isShown` is true if the field still has the text, with the reason. */
  readonly onRefused: (error: unknown, isShown: boolean) => void;
  /** The user moves from the empty field to the messages. */
  readonly onLeaveUp: () => void;
}

/** On a screen keyboard, Enter is a new line, and the button sends. */
const hasScreenKeyboard = () => matchMedia("(pointer: coarse) and (hover: none)").matches;

export function Composer(props: Props): JSX.Element {
  const { room, name = "", thread, maxBytes, mode, isOffline, onDone, onRefused, onLeaveUp } = props;
  const t = useTexts();
  const { edits, me } = useSession();
  const id = thread === undefined ? "composer" : "thread-composer";
  const draftKey = `draft.${room.name}${thread === undefined ? "" : `:${thread}`}`;
  const draft = () => storedText(tab.read(draftKey)) ?? "";
  const [text, setText] = useState(draft);
  const [hasPicker, setPicker] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const edited = mode !== undefined && "edit" in mode ? mode.edit : undefined;
  const replied = mode !== undefined && "reply" in mode ? mode.reply : undefined;
  const refused = edited && edits.of(room.name, edited.seq);
  /** The message whose edit is on its way. */
  const [saved, setSaved] = useState<Message>();
  const isSaving = edited !== undefined && saved === edited;

  /** The message in the field, also for replies that come later. */
  const inField = useRef<Message | undefined>(undefined);
  useLayoutEffect(() => {
    inField.current = edited;
    return () => {
      inField.current = undefined;
    };
  }, [edited]);

  const wasEditing = useRef(false);
  useLayoutEffect(() => {
    if (edited !== undefined) setText(refused?.text ?? edited.body?.text ?? "");
    // The draft was kept while the field had the text of a message.
    else if (wasEditing.current) setText(draft());
    wasEditing.current = edited !== undefined;
    if (mode !== undefined) field.current?.focus();
  }, [mode]);

  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  const hasRoom = room.state.may?.includes("delete_others") === true;
  const [start, setStart] = useState<Started>();
  const [chosen, setChosen] = useState(0);
  const names = start === undefined ? [] : candidates(start.query, room.state.members, me, hasRoom);
  /** The users who were chosen, because they may have left when the message is sent. */
  const picked = useRef<readonly User[]>([]);
  const mention = (name: string) => {
    const element = field.current;
    if (element === null || start === undefined) return;
    picked.current = [...picked.current, ...room.state.members.filter((user) => user.name === name)];
    element.setRangeText(`@${name} `, start.start, element.selectionStart, "end");
    change(element.value);
    setStart(undefined);
  };
  const mentioned = (value: string) => {
    const users = new Map([...picked.current, ...room.state.members].map((user) => [user.id, user]));
    return mentionsIn(value, [...users.values()], hasRoom);
  };

  const change = (value: string) => {
    setText(value);
    setStart(started(value, field.current?.selectionStart ?? value.length));
    setChosen(0);
    if (edited !== undefined) return;
    tab.write(draftKey, value === "" ? null : value);
    room.typing(value.trim() !== "");
  };

  const left = maxBytes - bytes(text);
  const canSend = text.trim() !== "" && left >= 0 && !isSaving;

  const save = async (message: Message, body: string) => {
    setSaved(message);
    try {
      await edits.save(room, message.seq, body, mentionsOfEdit(message, mentioned(body)));
      if (inField.current === message) onDone();
    } catch (error) {
      onRefused(error, inField.current === message);
    }
    setSaved((other) => (other === message ? undefined : other));
  };

  const send = () => {
    if (!canSend) return;
    const body = text.trimEnd();
    // A failure stays visible at the message, with a button to try again.
    const ignore = () => undefined;
    if (edited !== undefined) void save(edited, body);
    else {
      const mentions = mentioned(body);
      // A reply to a message of a thread belongs to that thread.
      const root = thread ?? replied?.thread;
      room
        .send(body, {
          ...(replied !== undefined && { reply_to: replied.seq }),
          ...(root !== undefined && { thread: root }),
          ...(mentions !== undefined && { mentions }),
        })
        .catch(ignore);
      setStart(undefined);
      picked.current = [];
      room.typing(false);
      tab.write(draftKey, null);
      setText("");
      onDone();
    }
    field.current?.focus();
  };

  const problem = left < 0 ? t.tooLong(-left) : refused && t.notSaved(reason(t, refused.error));

  const cancel = () => {
    if (edited !== undefined) edits.forget(room.name, edited.seq);
    onDone();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // Enter that ends a composition chooses a syllable. Safari reports it after the composition, with key code 229.
    if (event.isComposing || event.keyCode === 229) return;
    const name = names[chosen];
    if (name !== undefined && !event.shiftKey) {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (step !== undefined) setChosen((chosen + step + names.length) % names.length);
      else if (event.key === "Enter" || event.key === "Tab") mention(name);
      else if (event.key === "Escape") setStart(undefined);
      else return;
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (event.key === "Enter" && !event.shiftKey && !event.altKey && !hasScreenKeyboard()) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && mode !== undefined) {
      event.stopPropagation();
      cancel();
    } else if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onLeaveUp();
    }
  };

  const closePicker = () => {
    setPicker(false);
    field.current?.focus();
  };

  const label = thread === undefined ? t.write(name) : t.writeInThread;
  const insert = (emoji: string) => {
    const element = field.current;
    if (element === null || isSaving) return;
    element.focus();
    element.setRangeText(emoji, element.selectionStart, element.selectionEnd, "end");
    change(element.value);
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {mode !== undefined && (
        <div class="composer-mode">
          <Icon name={edited === undefined ? "reply" : "edit"} />
          <span class="clip">{edited === undefined ? t.replyTo(replied?.user.name ?? "") : t.editing}</span>
          <IconButton icon="close" label={t.cancel} onClick={cancel} />
        </div>
      )}
      <div class="composer-field">
        <textarea
          ref={field}
          rows={1}
          value={text}
          readOnly={isSaving}
          aria-busy={isSaving}
          dir="auto"
          placeholder={label}
          aria-label={label}
          aria-describedby={`${id}-note`}
          aria-autocomplete="list"
          aria-controls={names.length > 0 ? `${id}-names` : undefined}
          aria-activedescendant={names.length > 0 ? `${id}-names-${chosen}` : undefined}
          onInput={({ currentTarget }) => change(currentTarget.value)}
          onKeyDown={onKeyDown}
          enterkeyhint="send"
          id={id}
        />
        <IconButton icon="smile" label={t.emoji} pressed={hasPicker} onClick={() => setPicker(!hasPicker)} />
        <button type="submit" class="send" aria-label={edited === undefined ? t.send : t.save} disabled={!canSend}>
          <Icon name={edited === undefined ? "send" : "check"} />
        </button>
      </div>
      {names.length > 0 && <MentionList id={`${id}-names`} names={names} chosen={chosen} onPick={mention} />}
      <p class="hidden" role="status">
        {names.length > 0 && t.mentionFound(names.length)}
      </p>
      {hasPicker && <EmojiPicker onPick={insert} onClose={closePicker} />}
      <p id={`${id}-note`} class={problem === undefined ? "composer-note" : "composer-note bad"} role="status">
        {problem ?? (left < 400 ? t.bytesLeft(left) : isOffline ? t.offlineNote : "")}
      </p>
    </form>
  );
}

/** The mentions of an edited message, if the text has new ones: the others stay, also of users who are away. */
function mentionsOfEdit({ mentions: before = [] }: Message, found: Mentions = []): Mentions | undefined {
  if (before === "@room" || found === "@room") return before === found ? undefined : "@room";
  return found.every((id) => before.includes(id)) ? undefined : [...new Set([...before, ...found])];
}
