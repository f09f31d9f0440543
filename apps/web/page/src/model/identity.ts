import { browser, isRecord, tab, text } from "./memory.ts";
import { Cell } from "./store.ts";

/** The person of this tab. A reload keeps it, and a second window can be somebody else. */
export type Identity =
  | { readonly name: string }
  | { readonly token: string }
  /** The server knows the user without the page: a proxy has signed the user in. */
  | { readonly isKnown: true };

function stored(): Identity | undefined {
  const found = tab.read("identity");
  if (!isRecord(found)) return undefined;
  const [name, token] = [text(found["name"]), text(found["token"])];
  if (found["isKnown"] === true) return { isKnown: true };
  return token !== undefined ? { token } : name !== undefined ? { name } : undefined;
}

export const identity = new Cell<Identity | undefined>(stored());

export function enter(person: Identity): void {
  tab.write("identity", person);
  if ("name" in person) browser.write("name", person.name);
  identity.set(person);
}

/** Ends the stay of this person. Drafts and places are of no concern to the next one in this tab. */
export function exit(): void {
  identity.set(undefined);
  tab.clear();
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

/**
 * The ways in which a server admits users. `known` is the name of a user whom a proxy has signed in. `refused` means
 * that only the request to connect can have a credential, such as a ticket.
 */
export type Admission = "name" | "token" | "refused" | "unreachable" | { readonly known: string };

/**
 * Asks how the server admits users: without a credential, because a server can admit guests, or users that a proxy
 * names, beside those with tokens.
 */
export async function admission(): Promise<Admission> {
  try {
    const { status } = await fetch(chatPath(), { headers: { accept: "application/json" }, cache: "no-store" });
    return status === 401 ? "refused" : await welcome();
  } catch {
    return "unreachable";
  }
}

const PATIENCE = 3000;

/** Users without a name and a credential have such an identifier, and no others. */
const NAMELESS = /^guest-/u;

/**
 * Connects without a credential. A server that takes tokens in a `hello` answers other commands with an error. Every
 * other server begins with the user of the connection.
 */
function welcome(): Promise<Admission> {
  return new Promise((resolve) => {
    const socket = new WebSocket(new URL("ws", document.baseURI).href.replace(/^http/u, "ws"), "chat.v1");
    const end = (admission: Admission) => {
      resolve(admission);
      socket.close();
    };
    // In doubt, the chat itself finds out.
    setTimeout(() => end("name"), PATIENCE);
    socket.addEventListener("close", () => end("name"));
    socket.addEventListener("open", () => socket.send('{"type":"ping"}'));
    socket.addEventListener("message", ({ data }) => {
      const { type, user } = JSON.parse(String(data));
      if (type !== "welcome") end("token");
      else end(NAMELESS.test(user.id) ? "name" : { known: user.name });
    });
  });
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
