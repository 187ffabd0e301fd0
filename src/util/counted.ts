/**
 * A count and its noun, as a person writes them: `1 session`, `2 sessions`.
 */

/** A noun as it stands behind a count. */
export const nounFor = (count: number, noun: string): string => (count === 1 ? noun : `${noun}s`);

export const counted = (count: number, noun: string): string => `${count} ${nounFor(count, noun)}`;
