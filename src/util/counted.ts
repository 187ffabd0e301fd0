/**
 * A count and its noun in readable form: `1 session`, `2 sessions`.
 */

/** The noun in the form that follows this count. */
export const nounFor = (count: number, noun: string): string => (count === 1 ? noun : `${noun}s`);

export const counted = (count: number, noun: string): string => `${count} ${nounFor(count, noun)}`;
