/**
 * OpenClaw masks what looks like a bot token in the messages that it stores. A run id that names a session whose id ends in
 * digits looks like one: `…561707452823:f75e5b34-…-1f7e09b44b99` becomes `…561707…4b99`.
 */

const MASK = '…';

export const isMasked = (id: string): boolean => id.includes(MASK);

/** Whether `masked` is `id` with pieces of it masked. */
export function isMaskOf(masked: string, id: string): boolean {
  const [first = '', ...pieces] = masked.split(MASK);
  const last = pieces.pop();
  if (last === undefined || !id.startsWith(first)) return false;
  let at = first.length;
  for (const piece of pieces) {
    const found = id.indexOf(piece, at);
    if (found === -1) return false;
    at = found + piece.length;
  }
  return id.endsWith(last) && id.length - last.length >= at;
}
