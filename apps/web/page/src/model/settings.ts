import { browser, isRecord } from "./memory.ts";
import { Cell } from "./store.ts";
import { LANGUAGES, type Language, type Texts } from "./texts.ts";

export type Theme = "system" | "light" | "dark";

export interface Settings {
  readonly theme: Theme;
  readonly language: Language;
  readonly notify: boolean;
}

function initial(): Settings {
  const stored = browser.read("settings");
  const found = isRecord(stored) ? stored : {};
  const wished = navigator.languages.find((tag) => /^(ko|en)\b/.test(tag)) ?? "en";
  const language = found["language"] ?? wished.slice(0, 2);
  return {
    theme: found["theme"] === "light" || found["theme"] === "dark" ? found["theme"] : "system",
    language: language === "ko" ? "ko" : "en",
    notify: found["notify"] === true,
  };
}

export const settings = new Cell<Settings>(initial());

export function change(part: Partial<Settings>): void {
  settings.set({ ...settings.state, ...part });
  browser.write("settings", settings.state);
}

/** The texts of the chosen language. */
export function texts(): Texts {
  return LANGUAGES[settings.state.language].texts;
}

settings.subscribe(({ theme, language }) => {
  const root = document.documentElement;
  root.lang = language;
  if (theme === "system") root.removeAttribute("data-theme");
  else root.dataset["theme"] = theme;
});
