import type { Language } from "./texts.ts";
import { texts } from "./settings.ts";

type Formats = Record<"time" | "day" | "moment" | "full", Intl.DateTimeFormat>;

const formats = new Map<Language, Formats>();

function of(language: Language): Formats {
  let found = formats.get(language);
  if (found === undefined) {
    found = {
      time: new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" }),
      day: new Intl.DateTimeFormat(language, { weekday: "long", month: "long", day: "numeric" }),
      moment: new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }),
      full: new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" }),
    };
    formats.set(language, found);
  }
  return found;
}

const language = () => document.documentElement.lang as Language;

export const time = (at: number) => of(language()).time.format(at);
/** A time that is near: without the day, if that is today. */
export const moment = (at: number) => (dayOf(at) === dayOf(Date.now()) ? time(at) : of(language()).moment.format(at));
export const fullTime = (at: number) => of(language()).full.format(at);

/** The number of the local day. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return Math.round(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}

export function day(at: number): string {
  const age = dayOf(Date.now()) - dayOf(at);
  if (age === 0) return texts().today;
  if (age === 1) return texts().yesterday;
  return of(language()).day.format(at);
}

export function seconds(ms: number): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const [minutes, rest] = [Math.floor(all / 60), all % 60];
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

const graphemes = new Intl.Segmenter();

/** The letters of an avatar: one emoji, one ideograph, or the initials of two words. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/u).filter((word) => word !== "");
  const first = (word: string) => graphemes.segment(word)[Symbol.iterator]().next().value?.segment ?? "";
  const letter = first(words[0] ?? "?");
  const isLatin = /^\p{Script=Latin}/u.test(letter);
  const second = words.length > 1 ? first(words[1] ?? "") : "";
  return (isLatin && /^[\p{L}\p{N}]/u.test(second) ? letter + second : letter).toUpperCase();
}

/** A hue for a user, the same on every screen. */
export function hue(id: string): number {
  let hash = 2166136261;
  for (let index = 0; index < id.length; index++) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 16777619);
  }
  // Steps of 24 degrees stay apart for the eye.
  return ((hash >>> 0) % 15) * 24;
}

const emojiOnly = /^(?:\p{RGI_Emoji}\s?){1,6}$/v;

export function isEmojiOnly(text: string): boolean {
  return text.length < 80 && emojiOnly.test(text);
}

const encoder = new TextEncoder();
export const bytes = (text: string) => encoder.encode(text).length;
