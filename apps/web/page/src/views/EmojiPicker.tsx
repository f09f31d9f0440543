import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useTexts } from "../ui/context.ts";

const EMOJI = [
  ..."😀😄😂🤣😊😍😘😎🤔🙄😴😭😱😡🥳🤯👍👎👏🙏💪🤝👋🙌👀❤🔥✨🎉💯✅❌⭐☕🍕🍜🚀💡📌🐛",
].map((emoji) => (emoji === "❤" ? "❤️" : emoji));

const COLUMNS = 8;

interface Props {
  readonly onPick: (emoji: string) => void;
  readonly onClose: () => void;
}

/** A small choice. The system's own picker has all others. */
export function EmojiPicker({ onPick, onClose }: Props): JSX.Element {
  const t = useTexts();
  const grid = useRef<HTMLDivElement>(null);
  useEffect(() => grid.current?.querySelector("button")?.focus(), []);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      onClose();
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const buttons = [...(grid.current?.querySelectorAll("button") ?? [])];
    const index = buttons.findIndex((button) => button === document.activeElement);
    buttons[Math.min(Math.max(index + step, 0), buttons.length - 1)]?.focus();
  };
  return (
    <div class="emoji" ref={grid} role="group" aria-label={t.emoji} onKeyDown={onKeyDown}>
      {EMOJI.map((emoji) => (
        <button type="button" key={emoji} onClick={() => onPick(emoji)}>
          {emoji}
        </button>
      ))}
    </div>
  );
}
