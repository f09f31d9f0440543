/**
 * What the browser keeps. Browsers can refuse storage (private windows, blocked site data), and another version of the
 * page can have written something else, so each read is checked and each write may fail.
 */
function read(storage: () => Storage, key: string): unknown {
  try {
    return JSON.parse(storage().getItem(`chat.${key}`) ?? "null");
  } catch {
    return null;
  }
}

function write(storage: () => Storage, key: string, value: unknown): void {
  try {
    if (value === null) storage().removeItem(`chat.${key}`);
    else storage().setItem(`chat.${key}`, JSON.stringify(value));
  } catch {
    // The page works without storage. It only forgets.
  }
}

/** Kept for all windows of this browser. */
export const browser = {
  read: (key: string) => read(() => localStorage, key),
  write: (key: string, value: unknown) => write(() => localStorage, key, value),
};

/** Kept for this tab, also over a reload. */
export const tab = {
  read: (key: string) => read(() => sessionStorage, key),
  write: (key: string, value: unknown) => write(() => sessionStorage, key, value),
  /** Forgets all that the page has written. */
  clear(): void {
    try {
      for (const key of Object.keys(sessionStorage)) if (key.startsWith("chat.")) sessionStorage.removeItem(key);
    } catch {
      // There is no storage.
    }
  },
};

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
