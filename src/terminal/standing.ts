/**
 * What stands at the bottom of the terminal at this moment and is redrawn in place there, and how lines get above it: the
 * log goes through here. Drawing is apart (`bottom.ts`), so that a command that draws nothing loads nothing of it.
 */

/** Some rows, and the cursor at the beginning of the one below them. */
export interface Standing {
  /** Takes the rows away; the cursor is where the first of them began. */
  erase(): void;
  draw(): void;
}

/** A process has one terminal, whichever of its streams lead there. */
const standing = new Set<Standing>();

export const stand = (rows: Standing): void => void standing.add(rows);

export const leave = (rows: Standing): void => void standing.delete(rows);

/** `write` writes whole lines to the terminal, and at once: they stay, and what stood there stands below them. */
export function printAbove(write: () => void): void {
  for (const rows of standing) rows.erase();
  write();
  for (const rows of standing) rows.draw();
}
