import type { Room } from "@chat-core/client";

/** A text that was not stored, and the reason. */
export interface RefusedEdit {
  readonly text: string;
  readonly error: unknown;
}

/** The edits of this tab that were refused, so that nobody has to write a text twice. */
export class Edits {
  readonly #refused = new Map<string, RefusedEdit>();

  of(room: string, seq: number): RefusedEdit | undefined {
    return this.#refused.get(`${room} ${seq}`);
  }

  /** Changes a message. A text that is refused is kept until it is saved or forgotten. */
  async save(room: Room, seq: number, text: string): Promise<void> {
    this.forget(room.name, seq);
    try {
      await room.edit(seq, text);
    } catch (error) {
      this.#refused.set(`${room.name} ${seq}`, { text, error });
      throw error;
    }
  }

  forget(room: string, seq: number): void {
    this.#refused.delete(`${room} ${seq}`);
  }
}
