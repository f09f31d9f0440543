import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Texts } from "../model/texts.ts";
import { Icon } from "../ui/icons.tsx";

interface Props {
  readonly onSure: () => void;
  readonly t: Texts;
}

/** Two clicks within this time are one double click, or a key that is held. */
const DOUBLE_CLICK = 700;

/** Asks before it deletes: the second click on the same button counts, unless the focus was elsewhere meanwhile. */
export function DeleteButton({ onSure, t }: Props): JSX.Element {
  const [isAsking, setAsking] = useState(false);
  const clickedAt = useRef(0);
  return (
    <button
      type="button"
      class={isAsking ? "text-button bad" : "icon-button"}
      aria-label={isAsking ? t.deleteSure : t.delete}
      title={t.delete}
      onBlur={() => setAsking(false)}
      onClick={({ currentTarget, timeStamp }) => {
        const isSecond = timeStamp - clickedAt.current < DOUBLE_CLICK;
        clickedAt.current = timeStamp;
        if (isAsking && isSecond) return;
        // Safari does not focus a button that is clicked.
        currentTarget.focus();
        if (isAsking) onSure();
        setAsking(!isAsking);
      }}
    >
      {isAsking ? t.deleteSure : <Icon name="trash" />}
    </button>
  );
}
