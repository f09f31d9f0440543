import type { JSX } from "preact";

/** Outlines on a grid of 20, drawn with the colour of the text. */
const PATHS = {
  people: "M7.500 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6M2 16.500c0-2.800 2.300-4.500 5.500-4.500s5.500 1.700 5.500 4.500M13 3.800a3 3 0 0 1 0 5.400M15 12.300c1.900.6 3 2.100 3 4.200",
  search: "M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12m4.300-1.700L17 17",
  hood: "M2.500 10h3l2-5.500 4 11 2.500-7 1 1.500h2.500",
  link: "M8.500 11.500a3.200 3.200 0 0 0 4.600 0l2.600-2.600a3.250 3.250 0 0 0-4.600-4.600l-.8.8M11.500 8.500a3.200 3.200 0 0 0-4.600 0l-2.600 2.600a3.250 3.250 0 0 0 4.600 4.600l.8-.8",
  send: "M3.500 10 3 3.500 17.500 10 3 16.500zm0 0H10",
  smile: "M10 17.500a7.500 7.500 0 1 0 0-15 7.500 7.500 0 0 0 0 15M7.200 8h0M12.800 8h0M6.500 11.500c1.500 3 5.500 3 7 0",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5 5 15",
  menu: "M3 6h14M3 10h14M3 14h9",
  down: "M10 4v12m-5-5 5 5 5-5",
  settings: "M3 6h6m4 0h4M3 14h2m4 0h8M11 8.200a2.200 2.200 0 1 0 0-4.400 2.200 2.200 0 0 0 0 4.400M7 16.200a2.200 2.200 0 1 0 0-4.400 2.200 2.200 0 0 0 0 4.400",
  keyboard: "M3.500 5h13A1.500 1.500 0 0 1 18 6.500v7a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 2 13.500v-7A1.500 1.500 0 0 1 3.500 5M6 8h0M9 8h0M12 8h0M15 8h0M7 12h6",
  reply: "M8 5 3 9.500 8 14M3 9.500h8c3.500 0 6 2 6 6",
  thread: "M4 4h12v8H9l-5 4zM7.500 8h5",
  edit: "M4 16l.8-3.400L13.500 4a1.500 1.500 0 0 1 2.500 2.500L7.400 15.200z",
  trash: "M4 6h12M8 6V4h4v2M5.500 6l.7 10h7.600l.7-10",
  pin: "M12 3l5 5-2.500.8-3 3L11 15l-6-6 3.200-.5 3-3zM7.500 12.500 3 17",
  copy: "M7.500 7.500h8v8h-8zM12.500 7.500v-3h-8v8h3",
  check: "M4 10.500l4 4 8-9",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14m0-10.500V10l2.500 1.500",
  alert: "M10 3.500 2.500 16.500h15zM10 8.500v4M10 14.500h0",
  window: "M3 4.500h14v11H3zM3 8h14",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: (event: MouseEvent) => void;
  readonly pressed?: boolean;
  readonly class?: string;
  readonly shortcut?: string;
}

export function IconButton({ icon, label, onClick, pressed, class: extra = "", shortcut }: IconButtonProps): JSX.Element {
  return (
    <button
      type="button"
      class={`icon-button ${extra}`}
      aria-label={label}
      title={shortcut === undefined ? label : `${label} (${shortcut})`}
      aria-pressed={pressed}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
