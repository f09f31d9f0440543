import type { Store } from "@chat-core/client";

/** Returns the first state of a store that fulfils a condition. */
export async function until<S>(store: Store<S>, condition: (state: S) => boolean, limit = 15_000): Promise<S> {
  let end: (() => void) | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await new Promise<S>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`not in ${limit} ms: ${JSON.stringify(store.state)}`)), limit);
      end = store.subscribe((state) => condition(state) && resolve(state));
    });
  } finally {
    clearTimeout(timer);
    end?.();
  }
}

/** Returns the texts of messages. */
export const texts = (state: { readonly messages: readonly { readonly body?: { readonly text?: string } }[] }) =>
  state.messages.map((message) => message.body?.text);
