import type { WebSocketClass } from "@chat-core/client";

/** What a script gets: a command, and a function that sends events to the client. */
type Script = (command: Record<string, unknown>, emit: (...events: object[]) => void) => void;

/** Returns a WebSocket class whose server is a script. It makes orders of events that a real server makes rarely. */
export function scripted(script: Script): WebSocketClass {
  const limits = { max_frame: 16_384, max_rooms: 10, max_body: 4096, max_page: 200 };
  class Scripted {
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: string }) => void) | null = null;

    constructor() {
      setTimeout(() => {
        this.onopen?.();
        this.#emit({ type: "welcome", connection: "1", user: { id: "ann", name: "Ann" }, limits, ping_interval: 20 });
      });
    }

    send(frame: string): void {
      setTimeout(() => script(JSON.parse(frame), (...events) => this.#emit(...events)));
    }

    close(): void {}

    #emit(...events: object[]): void {
      for (const event of events) this.onmessage?.({ data: JSON.stringify(event) });
    }
  }
  return Scripted as unknown as WebSocketClass;
}
