/**
 * The tree as lines for a terminal: names on the left, amounts in columns on the right, so that a run can be read down as well
 * as across. A line is never wider than the terminal: what does not fit the layout is cut.
 */
import picocolors from 'picocolors';
import { type Column, hasMark, type Layout, layOut } from './layout.js';
import { ASCII_GLYPHS, type CellName, type Glyphs, type Row, rowsOf, UNICODE_GLYPHS } from './rows.js';
import { fitText, textWidth } from './text.js';
import type { RunNode } from './tree.js';

export interface RenderOptions {
  /** The terminal's width in cells. */
  columns: number;
  color: boolean;
  /** If false, the tree is drawn in ASCII. Default: true. */
  unicode?: boolean;
  /** The time up to which open spans are measured, in epoch milliseconds; without it they show no duration. */
  now_ms?: number;
}

type Paint = (text: string) => string;

/** A piece of a line; pieces go from left to right. */
interface Piece {
  text: string;
  paint: Paint;
}

const FALLBACK_COLUMNS = 80;
const SHORTEST_NAME = 8;
const SHORTEST_KEY = 6;

const plain: Paint = (text) => text;

type Palette = ReturnType<typeof picocolors.createColors>;

const MARK_COLORS = { ok: 'green', error: 'red', open: 'yellow' } as const;

function namePaint(row: Row, palette: Palette): Paint {
  if (row.kind === 'run') return palette.bold;
  if (row.state === 'error') return palette.red;
  return row.kind === 'chat' ? palette.cyan : plain;
}

/** Cuts the beginning of rails that would leave too little room for the name: the nearest branches matter most. */
function fitRails(rails: string, width: number, glyphs: Glyphs): string {
  if (rails.length <= width) return rails;
  return width < 1 ? '' : glyphs.ellipsis + rails.slice(rails.length - width + 1);
}

function labelOf(row: Row, width: number, glyphs: Glyphs, palette: Palette): Piece[] {
  const rails = fitRails(row.rails, Math.floor(width / 2), glyphs);
  const mark = hasMark(row) ? `${glyphs[row.state]} ` : '';
  const notes = row.notes.map(({ text, failed }) => ({
    text: `  ${text}`,
    paint: failed ? palette.red : palette.dim,
  }));
  const notes_width = notes.reduce((sum, note) => sum + textWidth(note.text), 0);
  const room = width - rails.length - mark.length;
  const name = fitText(
    row.name,
    Math.max(room - notes_width, Math.min(room, SHORTEST_NAME)),
    glyphs.ellipsis,
  );
  const key_room = room - textWidth(name) - notes_width - 2;
  const key = key_room < SHORTEST_KEY ? '' : fitText(row.session_key ?? '', key_room, glyphs.ellipsis);
  return [
    { text: rails, paint: palette.dim },
    { text: mark, paint: palette[MARK_COLORS[row.state]] },
    { text: name, paint: namePaint(row, palette) },
    { text: key === '' ? '' : `  ${key}`, paint: palette.dim },
    ...notes,
  ];
}

/** Cuts the pieces to `width` cells in all; a piece of which only the ellipsis would be left is dropped. */
function fitPieces(pieces: readonly Piece[], width: number, glyphs: Glyphs): Piece[] {
  let room = width;
  return pieces.map(({ text, paint }) => {
    const fitted = fitText(text, room, glyphs.ellipsis);
    const shown = fitted === glyphs.ellipsis ? '' : fitted;
    room = shown === text ? room - textWidth(shown) : 0;
    return { text: shown, paint };
  });
}

/** Paints the pieces. Blanks are never painted, and removed at the end of the line. */
function paintLine(pieces: readonly Piece[]): string {
  const end = pieces.findLastIndex(({ text }) => text.trim() !== '');
  return pieces
    .slice(0, end + 1)
    .map(({ text, paint }, index) => {
      const body = text.trim();
      if (body === '') return text;
      const start = text.indexOf(body);
      return text.slice(0, start) + paint(body) + (index === end ? '' : text.slice(start + body.length));
    })
    .join('');
}

const CELL_COLORS: Partial<Record<CellName, 'magenta' | 'dim' | 'green'>> = {
  reasoning: 'magenta',
  cached: 'dim',
  cost: 'green',
};

function cellPiece(column: Column, text: string, paint: Paint): Piece {
  const padded = column.align === 'left' ? text.padEnd(column.width) : text.padStart(column.width);
  return { text: ' '.repeat(column.gap) + padded, paint };
}

function rowLine(row: Row, layout: Layout, glyphs: Glyphs, palette: Palette): string {
  const label = fitPieces(labelOf(row, layout.label_width, glyphs, palette), layout.label_width, glyphs);
  const used = label.reduce((sum, piece) => sum + textWidth(piece.text), 0);
  const cells = layout.columns.map((column) => {
    const color = CELL_COLORS[column.cell];
    return cellPiece(column, row.cells[column.cell], color === undefined ? plain : palette[color]);
  });
  return paintLine([...label, { text: ' '.repeat(layout.label_width - used), paint: plain }, ...cells]);
}

/** The column titles; none if durations are the only column, since those explain themselves. */
function headerLines(layout: Layout, palette: Palette): string[] {
  if (layout.columns.every((column) => column.cell === 'time')) return [];
  const titles = layout.columns.map((column) => cellPiece(column, column.title, palette.dim));
  return [paintLine([{ text: ' '.repeat(layout.label_width), paint: plain }, ...titles])];
}

/**
 * Draws a forest: a line of column titles if tokens are known, then one line per span. A root's line has the sums over its
 * whole tree; the line of a run below it, the sums over that run's own calls.
 */
export function renderForest(forest: readonly RunNode[], options: RenderOptions): string[] {
  if (forest.length === 0) return [];
  const glyphs = options.unicode === false ? ASCII_GLYPHS : UNICODE_GLYPHS;
  const palette = picocolors.createColors(options.color);
  const rows = rowsOf(forest, glyphs, options.now_ms);
  const layout = layOut(rows, glyphs, options.columns > 0 ? options.columns : FALLBACK_COLUMNS);
  return [...headerLines(layout, palette), ...rows.map((row) => rowLine(row, layout, glyphs, palette))];
}
