import type { RoomState } from "./types.js";
import type { Events, PresenceMode, User } from "./wire.js";

/** The time after which a user who types counts as having stopped, in ms. */
const TYPING_LIMIT = 12_000;

/** The users in a room, and those who type. */
export interface People {
  /** Returns the users sorted by name, and those who type without this user. */
  _snapshot(me: string | undefined): Pick<RoomState, "members" | "typing" | "count" | "presence">;
  /** Forgets everything. */
  _clear(): void;
  _joined(event: Events["joined"]): void;
  /** Handles the number of users. Returns true if a list of them must be read. */
  _occupancy(event: Events["occupancy"]): boolean;
  _list(event: Events["members"]): void;
  _presence(event: Events["presence"]): void;
  _typing(event: Pick<Events["typing"], "user" | "active">): void;
}

/**
 * Creates the users of a room.
 *
 * @param changed Called after a change.
 */
export function createPeople(changed: () => void): People {
  let count = 0;
  let mode: PresenceMode = "each";
  let members = new Map<string, User>();
  let isListed = false;
  const typing = new Map<string, [User, ReturnType<typeof setTimeout>]>();
  let snapshot: ReturnType<People["_snapshot"]> | undefined;

  function touch(): void {
    snapshot = undefined;
    changed();
  }

  function clear(): void {
    members.clear();
    for (const [user] of typing.values()) setTyping({ user, active: false });
    isListed = false;
    touch();
  }

  function setTyping({ user, active }: Pick<Events["typing"], "user" | "active">): void {
    const before = typing.get(user.id);
    clearTimeout(before?.[1]);
    const stop = (): void => setTyping({ user, active: false });
    if (active) typing.set(user.id, [user, setTimeout(stop, TYPING_LIMIT)]);
    else typing.delete(user.id);
    if (!before === active) touch();
  }

  return {
    _snapshot: (me) =>
      (snapshot ??= {
        count,
        presence: mode,
        members: [...members.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
        typing: [...typing.values()].map(([user]) => user).filter(({ id }) => id !== me),
      }),
    _clear: clear,
    _joined({ members, presence }) {
      count = members;
      mode = presence;
      if (presence === "count") clear();
      touch();
    },
    _occupancy({ members, presence }) {
      const wasCount = mode === "count";
      clear();
      count = members;
      mode = presence ?? "count";
      return wasCount && mode === "each";
    },
    _list({ members: users, total }) {
      members = new Map(users.map((user) => [user.id, user]));
      count = total;
      isListed = true;
      touch();
    },
    _presence({ user, state }) {
      const isHere = state === "joined";
      if (isListed && members.has(user.id) === isHere) return;
      count += isHere ? 1 : -1;
      if (!isHere) {
        setTyping({ user, active: false });
        members.delete(user.id);
      } else if (isListed) members.set(user.id, user);
      touch();
    },
    _typing: setTyping,
  };
}
