/** Address of the chat server. */
export const URL = __ENV.URL || 'ws://127.0.0.1:8080/ws';

/** Tags of every sample, so that reports of several servers can be compared. */
export const TAGS = {
  adapter: __ENV.ADAPTER || 'unknown',
  upgrade: __ENV.UPGRADE || 'unknown',
};

/**
 * Reads a positive number from the environment: `-e USERS=50`.
 *
 * @param {string} name
 * @param {number} fallback the value if the variable is not set
 * @returns {number}
 */
export function size(name, fallback) {
  const value = Number(__ENV[name] || fallback);
  if (!Number.isFinite(value) || value <= 0) {
    throw new Error(`${name} must be a positive number, not ${__ENV[name]}`);
  }
  return value;
}
