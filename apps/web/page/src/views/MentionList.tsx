import type { JSX } from "preact";
import { useTexts } from "../ui/context.ts";

interface Props {
  readonly id: string;
  readonly names: readonly string[];
  readonly chosen: number;
  readonly onPick: (name: string) => void;
}

/** The names that complete a mention. The text field keeps the focus. */
export function MentionList({ id, names, chosen, onPick }: Props): JSX.Element {
  const t = useTexts();
  return (
    <ul class="mention-list" id={id} role="listbox" aria-label={t.mention}>
      {names.map((name, index) => (
        <li
          key={name}
          id={`${id}-${index}`}
          role="option"
          aria-selected={index === chosen}
          onMouseDown={(event) => {
            event.preventDefault();
            onPick(name);
          }}
        >
          <span aria-hidden="true">@</span>
          <bdi class="clip">{name}</bdi>
        </li>
      ))}
    </ul>
  );
}
