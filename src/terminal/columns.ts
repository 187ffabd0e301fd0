/**
 * Rows of text as lines with aligned columns. All commands that print a table on stdout use it, so that wide characters, in a
 * path for example, shift no column.
 */
import { textWidth } from './text.js';

/** Two spaces between columns; the last column is not padded. The text must be safe to print. */
export function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, textWidth(text));
  return rows.map((row) =>
    row
      .map((text, column) =>
        column === row.length - 1 ? text : text + ' '.repeat((widths[column] ?? 0) - textWidth(text)),
      )
      .join('  '),
  );
}
