import { useEffect, useLayoutEffect, useReducer, useState } from "preact/hooks";
import type { Source } from "../model/store.ts";

/** The state of a source. The component renders again when it changes. */
export function useSource<S>(source: Source<S>): S {
  const [, render] = useReducer((count: number) => count + 1, 0);
  useLayoutEffect(() => {
    let known = source.state;
    return source.subscribe((state) => {
      if (state === known) return;
      known = state;
      render(undefined);
    });
  }, [source]);
  return source.state;
}

/** Renders again each second, for times that count. */
export function useClock(isOn: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!isOn) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [isOn]);
  return now;
}

/** True while the user can see the page and it has the focus. */
export function useIsWatched(): boolean {
  const watched = () => document.visibilityState === "visible" && document.hasFocus();
  const [isWatched, setWatched] = useState(watched);
  useEffect(() => {
    const update = () => setWatched(watched());
    const stop = new AbortController();
    document.addEventListener("visibilitychange", update, stop);
    addEventListener("focus", update, stop);
    addEventListener("blur", update, stop);
    return () => stop.abort();
  }, []);
  return isWatched;
}
