/**
 * Counts by reason. Some reasons are taken from the input, so their number is limited: further ones count as `other`.
 */
const MAX_REASONS = 64;

export function countReason(counts: Record<string, number>, reason: string, count = 1): void {
  const isKnown = Object.hasOwn(counts, reason);
  const key = isKnown || Object.keys(counts).length < MAX_REASONS ? reason : 'other';
  counts[key] = (counts[key] ?? 0) + count;
}
