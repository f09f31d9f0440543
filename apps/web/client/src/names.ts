/** Converts a name of a room to the form in which servers take it: lower case, then NFC. */
export const roomName = (name: string): string => name.toLowerCase().normalize("NFC");

/** Returns a random string of 96 bits, for keys and for the names of guests. */
export const random = (): string =>
  // `crypto.randomUUID` does not exist on pages without TLS.
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
