/** Converts a name of a room to the form in which servers take it: lower case, then NFC. */
export const roomName = (name: string): string => name.toLowerCase().normalize("NFC");

/** Returns a random string of 96 bits, for keys and for the names of guests. */
// `crypto.randomUUID` does not exist on pages without TLS.
export const random = (): string => crypto.getRandomValues(new Uint32Array(3)).join("-");

/** Returns the time of a clock that is never set, in ms. */
export const now = (): number => performance.now();
