import type { JSX } from "preact";
import { useTexts } from "../ui/context.ts";
import { Icon, type IconName } from "../ui/icons.tsx";
import { address } from "../model/place.ts";
import { openHood } from "../model/panel.ts";

const ICONS: readonly IconName[] = ["people", "check", "hood"];

interface Props {
  readonly room: string;
  readonly name: string;
  readonly isNew: boolean;
}

/** The beginning of a room. A new room explains itself. */
export function Intro({ room, name, isNew }: Props): JSX.Element {
  const t = useTexts();
  if (!isNew) return <p class="list-note">{t.beginning}</p>;
  return (
    <section class="intro">
      <h2>{t.introTitle(name)}</h2>
      <ol>
        {t.intro.map((sentence, index) => (
          <li key={sentence}>
            <Icon name={ICONS[index] ?? "check"} />
            {sentence}
          </li>
        ))}
      </ol>
      <div class="actions">
        <a class="button primary" href={address(room)} target="_blank" rel="noopener">
          <Icon name="window" />
          {t.openSecond}
        </a>
        <button type="button" class="button" onClick={openHood}>
          <Icon name="hood" />
          {t.hood}
        </button>
      </div>
    </section>
  );
}
