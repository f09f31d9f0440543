import type { User } from "@chat-core/client";
import type { JSX } from "preact";
import { hue, initials } from "../model/format.ts";

export function Avatar({ user, small }: { readonly user: User; readonly small?: boolean }): JSX.Element {
  return (
    <span class={small ? "avatar small" : "avatar"} style={{ "--hue": hue(user.id) }} aria-hidden="true">
      {initials(user.name)}
    </span>
  );
}
