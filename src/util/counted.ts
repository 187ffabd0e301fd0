/**
 * A count and its noun, as a person writes them: `1 session`, `2 sessions`.
 */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
