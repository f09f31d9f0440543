import type { RoomState } from "./types.js";
import type { Events, PresenceMode, User } from "./wire.js";

/** The time after which a user who types counts as having stopped, in ms. */
const TYPING_LIMIT = 12_000;

/** The users in a room, and those who type. */
export class People {
  #count = 0;
  _mode: PresenceMode = "each";
  /** Called after a change that no event causes. */
  readonly #changed: () => void;
  #members = new Map<string, User>();
  #isListed = false;
  readonly #typing = new Map<string, [User, ReturnType<typeof setTimeout>]>();
  #snapshot: ReturnType<People["_snapshot"]> | undefined;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** Returns the users sorted by name, and those who type without this user. */
  _snapshot(me: string | undefined): Pick<RoomState, "members" | "typing" | "count" | "presence"> {
    return (this.#snapshot ??= {
      count: this.#count,
      presence: this._mode,
      members: [...this.#members.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      typing: [...this.#typing.values()].map(([user]) => user).filter(({ id }) => id !== me),
    });
  }

  /** Forgets everything. */
  _clear(): void {
    this.#members.clear();
    for (const [user] of this.#typing.values()) this._typing({ user, active: false });
    this.#isListed = false;
    this.#touch();
  }

  _joined({ members, presence }: Events["joined"]): void {
    this.#count = members;
    this._mode = presence;
    if (presence === "count") this._clear();
    this.#touch();
  }

  /** Handles the number of users. Returns true if a list of them must be read. */
  _occupancy({ members, presence }: Events["occupancy"]): boolean {
    const wasCount = this._mode === "count";
    this._clear();
    this.#count = members;
    this._mode = presence ?? "count";
    return wasCount && this._mode === "each";
  }

  _list({ members, total }: Events["members"]): void {
    this.#members = new Map(members.map((user) => [user.id, user]));
    this.#count = total;
    this.#isListed = true;
    this.#touch();
  }

  _presence({ user, state }: Events["presence"]): void {
    const isHere = state === "joined";
    if (this.#isListed && this.#members.has(user.id) === isHere) return;
    this.#count += isHere ? 1 : -1;
    if (!isHere) {
      this._typing({ user, active: false });
      this.#members.delete(user.id);
    } else if (this.#isListed) this.#members.set(user.id, user);
    this.#touch();
  }

  _typing({ user, active }: Pick<Events["typing"], "user" | "active">): void {
    const before = this.#typing.get(user.id);
    clearTimeout(before?.[1]);
    const stop = (): void => this._typing({ user, active: false });
    if (active) this.#typing.set(user.id, [user, setTimeout(stop, TYPING_LIMIT)]);
    else this.#typing.delete(user.id);
    if (!before === active) this.#touch();
  }

  #touch(): void {
    this.#snapshot = undefined;
    this.#changed();
  }
}
