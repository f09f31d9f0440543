import type { User } from "@chat-core/client";
import type { JSX } from "preact";
import { hue, initials } from "../model/format.ts";

/** The letters are part of the picture, not of the text: the style shows them. */
export function Avatar({ user, small }: { readonly user: User; readonly small?: boolean }): JSX.Element {
  return (
    <span
      class={small ? "avatar small" : "avatar"}
      style={{ "--hue": hue(user.id) }}
      data-letters={initials(user.name)}
      aria-hidden="true"
    />
  );
}
