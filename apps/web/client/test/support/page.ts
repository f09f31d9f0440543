import { Window } from "happy-dom";

/** Makes a document with this content the global one, as in a browser. */
export function openPage(html: string): Document {
  const window = new Window();
  window.document.write(html);
  // React looks for this property to know that the browser has `input` events.
  Object.assign(window.document, { oninput: null });
  const { document, navigator } = window;
  for (const [name, value] of Object.entries({ window, document, navigator })) {
    Object.defineProperty(globalThis, name, { value, configurable: true });
  }
  return document as unknown as Document;
}

/** Waits until an element has a text. */
export async function untilText(element: Element, text: string, limit = 10_000): Promise<void> {
  const end = Date.now() + limit;
  while (!element.textContent?.includes(text)) {
    if (Date.now() > end) throw new Error(`no ${text} in ${limit} ms: ${element.textContent}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Types a text into the form of a page and submits it. */
export async function submit(element: ParentNode, text: string): Promise<void> {
  const input = element.querySelector("input") as HTMLInputElement;
  // React watches the property of the element, so the one of its class is set.
  let prototype = Object.getPrototypeOf(input);
  while (!Object.hasOwn(prototype, "value")) prototype = Object.getPrototypeOf(prototype);
  Object.getOwnPropertyDescriptor(prototype, "value")?.set?.call(input, text);
  const { Event } = window as unknown as { Event: typeof globalThis.Event };
  input.dispatchEvent(new Event("input", { bubbles: true }));
  // A view is updated after the event.
  await new Promise((resolve) => setTimeout(resolve));
  element.querySelector("form")?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
}
