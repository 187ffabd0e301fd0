/**
 * The rows that are redrawn in place at the bottom of the terminal, and how lines get above them: the log is printed through
 * here. Drawing is separate (`bottom.ts`), so that a command that draws nothing does not load it.
 */

/** Some rows, with the cursor at the beginning of the line below them. */
export interface Standing {
  /** Removes the rows; the cursor is then where the first of them began. */
  erase(): void;
  draw(): void;
}

/** Global, since a process has one terminal, whichever of its streams lead there. */
const standing = new Set<Standing>();

export const stand = (rows: Standing): void => void standing.add(rows);

export const leave = (rows: Standing): void => void standing.delete(rows);

/** Prints above the rows. `write` must write whole lines to the terminal, synchronously. */
export function printAbove(write: () => void): void {
  for (const rows of standing) rows.erase();
  write();
  for (const rows of standing) rows.draw();
}
