import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { exit, identity } from "../model/identity.ts";
import { notice } from "../model/notice.ts";
import { change, settings, type Theme } from "../model/settings.ts";
import { LANGUAGES, type Language } from "../model/texts.ts";
import { useTexts } from "../ui/context.ts";
import { useSource } from "../ui/hooks.ts";
import { IconButton } from "../ui/icons.tsx";

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

/** A modal dialog: the browser keeps the focus inside and closes it on Escape. */
function Dialog({ title, onClose, children }: DialogProps): JSX.Element {
  const t = useTexts();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => {
        // A click on the dialog itself is one beside its content.
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="dialog">
        <header class="panel-head">
          <h2>{title}</h2>
          <IconButton icon="close" label={t.close} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

export function SettingsDialog({ onClose }: { readonly onClose: () => void }): JSX.Element {
  const t = useTexts();
  const { theme, language, notify } = useSource(settings);
  const themes: readonly [Theme, string][] = [
    ["system", t.system],
    ["light", t.light],
    ["dark", t.dark],
  ];
  const setNotify = async (isOn: boolean) => {
    const isAllowed = isOn && "Notification" in window && (await Notification.requestPermission()) === "granted";
    change({ notify: isAllowed });
    if (isOn && !isAllowed) notice.set(t.notifyDenied);
  };
  return (
    <Dialog title={t.settings} onClose={onClose}>
      <Choice title={t.theme} options={themes} value={theme} onChange={(theme) => change({ theme })} />
      <Choice
        title={t.language}
        options={(Object.keys(LANGUAGES) as Language[]).map((key) => [key, LANGUAGES[key].name])}
        value={language}
        onChange={(language) => change({ language })}
      />
      <label class="check">
        <input type="checkbox" checked={notify} onChange={({ currentTarget }) => void setNotify(currentTarget.checked)} />
        {t.notify}
      </label>
      {/* A user whom a proxy has signed in would come back at once. */}
      {identity.state !== undefined && !("isKnown" in identity.state) && (
        <button type="button" class="button" onClick={exit}>
          {t.signOut}
        </button>
      )}
    </Dialog>
  );
}

interface ChoiceProps<V extends string> {
  readonly title: string;
  readonly options: readonly (readonly [V, string])[];
  readonly value: V;
  readonly onChange: (value: V) => void;
}

function Choice<V extends string>({ title, options, value, onChange }: ChoiceProps<V>): JSX.Element {
  return (
    <fieldset class="choice">
      <legend>{title}</legend>
      {options.map(([option, label]) => (
        <label key={option}>
          <input type="radio" name={title} checked={option === value} onChange={() => onChange(option)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

export function ShortcutsDialog({ onClose }: { readonly onClose: () => void }): JSX.Element {
  const t = useTexts();
  const keys: readonly (readonly [string, string])[] = [
    ["Enter / Shift Enter", t.keySend],
    ["↑", t.keyEditLast],
    ["↑ ↓", t.keyMessages],
    ["Esc", t.keyWrite],
    ["Ctrl K", t.keySearch],
    ["Alt ↑ ↓", t.keyRooms],
    ["Ctrl .", t.keyHood],
    ["Ctrl /", t.keyHelp],
  ];
  return (
    <Dialog title={t.shortcuts} onClose={onClose}>
      <dl class="keys">
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
