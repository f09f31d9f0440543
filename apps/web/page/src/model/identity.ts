import { browser, isRecord, tab, text } from "./memory.ts";
import { Cell } from "./store.ts";

/** The person of this tab. A reload keeps it, and a second window can be somebody else. */
export type Identity = { readonly name: string } | { readonly token: string };

function stored(): Identity | undefined {
  const found = tab.read("identity");
  if (!isRecord(found)) return undefined;
  const [name, token] = [text(found["name"]), text(found["token"])];
  return token !== undefined ? { token } : name !== undefined ? { name } : undefined;
}

export const identity = new Cell<Identity | undefined>(stored());

export function enter(person: Identity): void {
  tab.write("identity", person);
  if ("name" in person) browser.write("name", person.name);
  identity.set(person);
}

export function exit(): void {
  tab.write("identity", null);
  identity.set(undefined);
}

/** The name that this browser used last. */
export function lastName(): string {
  return text(browser.read("name")) ?? "";
}

const channel = new BroadcastChannel("chat.people");
channel.addEventListener("message", ({ data }) => {
  const person = identity.state;
  if (data === "who" && person !== undefined && "name" in person) channel.postMessage({ name: person.name });
});

/** Calls `found` with the name of the person in another window of this browser, if there is one. */
export function findOtherWindow(found: (name: string) => void): () => void {
  const listen = ({ data }: MessageEvent<unknown>) => {
    const name = isRecord(data) ? text(data["name"]) : undefined;
    if (name !== undefined) found(name);
  };
  channel.addEventListener("message", listen);
  channel.postMessage("who");
  return () => channel.removeEventListener("message", listen);
}

/** The ways in which a server admits users. */
export type Admission = "name" | "token" | "unreachable";

/**
 * Asks how the server admits users. A server that checks tokens refuses one that cannot be valid; a server without
 * users does not look at it.
 */
export async function admission(): Promise<Admission> {
  const headers = { accept: "application/json", authorization: "Bearer none" };
  try {
    const { status } = await fetch(chatPath(), { headers, cache: "no-store" });
    return status === 401 ? "token" : "name";
  } catch {
    return "unreachable";
  }
}

/** Asks why a handshake with this name would be refused. */
export async function refusalOf(name: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${chatPath()}?name=${encodeURIComponent(name)}`, {
      headers: { accept: "application/json" },
      cache: "no-store",
    });
    if (response.ok) return undefined;
    const body: unknown = await response.json();
    const error = isRecord(body) ? body["error"] : undefined;
    return (isRecord(error) ? text(error["code"]) : undefined) ?? "unavailable";
  } catch {
    return "unreachable";
  }
}

/** The chat is beside the page, also behind a proxy that puts both below a path. */
export function chatPath(): string {
  return new URL("ws", document.baseURI).pathname;
}
