import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { settings, texts } from "../model/settings.ts";
import type { Session } from "../model/session.ts";
import type { Texts } from "../model/texts.ts";
import { useSource } from "./hooks.ts";

export const SessionContext = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === undefined) throw new Error("a component of the chat is outside of its session");
  return session;
}

/** The texts of the chosen language. */
export function useTexts(): Texts {
  useSource(settings);
  return texts();
}
