/**
 * How the lines of the tree share the terminal's width: which columns there are, how wide each is, and what is left for the
 * names. All lines of one drawing have the same layout.
 */
import type { CellName, Glyphs, Row } from './rows.js';
import { textWidth } from './text.js';

export interface Column {
  cell: CellName;
  title: string;
  /** Columns of the highest rank are dropped first if the terminal is too narrow. */
  rank: number;
  align: 'left' | 'right';
  gap: number;
  /** The minimum width in cells; it grows to what the column needs. */
  width: number;
}

/** Columns are dropped until names have this share of the line, or all the width that they need. */
const NAMES_SHARE = 0.5;

function columnsOf(rows: readonly Row[], glyphs: Glyphs): Column[] {
  const right = { align: 'right', gap: 2, width: 0 } as const;
  const columns: Column[] = [
    // As wide as `850 ms` from the start, so that a tree that is redrawn does not move sideways.
    { cell: 'time', title: 'time', rank: 0, ...right, width: 6 },
    { cell: 'input', title: 'tokens in', rank: 1, ...right },
    { cell: 'output', title: `${glyphs.arrow} out`, rank: 1, align: 'left', gap: 1, width: 0 },
    { cell: 'reasoning', title: 'reasoning', rank: 2, ...right },
    { cell: 'cached', title: 'cached', rank: 3, ...right },
    { cell: 'cost', title: 'cost', rank: 4, ...right },
  ];
  const used = columns.filter(({ cell }) => rows.some((row) => row.cells[cell] !== ''));
  for (const column of used) {
    column.width = rows.reduce(
      (width, row) => Math.max(width, row.cells[column.cell].length),
      Math.max(column.width, column.title.length),
    );
  }
  return used;
}

/** The width of the columns, including their gaps. */
const widthOf = (columns: readonly Column[]): number =>
  columns.reduce((width, column) => width + column.gap + column.width, 0);

/** The wanted width of a label without its session key, which gives way to everything else. */
function nameWidth(row: Row): number {
  const mark = hasMark(row) ? 2 : 0;
  const notes = row.notes.reduce((width, note) => width + 2 + textWidth(note.text), 0);
  return row.rails.length + mark + textWidth(row.name) + notes;
}

/** Successful calls have no mark, so that the others stand out. */
export const hasMark = (row: Row): boolean => row.kind === 'run' || row.state !== 'ok';

export interface Layout {
  /** The width beside the columns: rails, mark, name, session key, notes. */
  label_width: number;
  columns: Column[];
}

/**
 * Divides `line_width` cells among the parts of the lines: the least important columns give way to names, and names to the
 * remaining columns.
 */
export function layOut(rows: readonly Row[], glyphs: Glyphs, line_width: number): Layout {
  let columns = columnsOf(rows, glyphs);
  const longest = rows.reduce((width, row) => Math.max(width, nameWidth(row)), 0);
  const wanted = Math.min(longest, Math.floor(line_width * NAMES_SHARE));
  for (let rank = 4; rank >= 0 && line_width - widthOf(columns) < wanted; rank -= 1) {
    columns = columns.filter((column) => column.rank !== rank);
  }
  const keyed = rows.reduce(
    (width, row) => Math.max(width, nameWidth(row) + (row.session_key ? 2 + textWidth(row.session_key) : 0)),
    0,
  );
  return { label_width: Math.min(keyed, line_width - widthOf(columns)), columns };
}
