/** Where the chat is. */
export const URL = __ENV.URL || 'ws://127.0.0.1:8080/ws';

/** Marks every sample, so that the reports of several servers can be put side by side. */
export const TAGS = {
  adapter: __ENV.ADAPTER || 'unknown',
  upgrade: __ENV.UPGRADE || 'unknown',
};

/**
 * A size from the environment: `-e USERS=50`.
 *
 * @param {string} name
 * @param {number} usual
 * @returns {number}
 */
export function size(name, usual) {
  const value = Number(__ENV[name] || usual);
  if (!Number.isFinite(value) || value <= 0) {
    throw new Error(`${name} is no size: ${__ENV[name]}`);
  }
  return value;
}
