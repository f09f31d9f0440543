import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { panel } from "../model/panel.ts";
import { useTexts } from "../ui/context.ts";
import { IconButton } from "../ui/icons.tsx";

interface Props {
  readonly title: string;
  /** True if the parts of the panel have the whole width, and scroll by themselves. */
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}

/** A panel beside the conversation. On a narrow screen it covers it. */
export function PanelFrame({ title, isWide = false, children }: Props): JSX.Element {
  const t = useTexts();
  const frame = useRef<HTMLElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    const find = (selector: string) => frame.current?.querySelector<HTMLElement>(selector);
    (find("[data-first], textarea") ?? find(".panel-head button"))?.focus({ preventScroll: true });
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus({ preventScroll: true });
    };
  }, []);
  const close = () => panel.set(undefined);
  return (
    <aside
      class="panel"
      ref={frame}
      aria-label={title}
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.isComposing) close();
      }}
    >
      <header class="panel-head">
        <h2>{title}</h2>
        <IconButton icon="close" label={t.close} onClick={close} />
      </header>
      <div class={isWide ? "panel-wide" : "panel-body"} tabIndex={-1}>
        {children}
      </div>
    </aside>
  );
}
