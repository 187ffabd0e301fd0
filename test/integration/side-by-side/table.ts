/**
 * The comparison as a Markdown table: a row per quantity, a column per backend, and a note where a backend shows nothing.
 */
import { type Expected, QUANTITIES, type Quantity, type Shown, sizeOf, type Value } from './quantities.js';
import type { Column } from './ways.js';

export interface Measured extends Column {
  shown: Shown;
}

const NOTHING = '—';
const QUANTITY_NAMES = Object.keys(QUANTITIES) as Quantity[];

const print = (value: Value | undefined): string =>
  sizeOf(value)?.toLocaleString('en-US', { maximumFractionDigits: 6 }) ?? NOTHING;

const row = (cells: string[]): string => `| ${cells.join(' | ')} |`;

export function drawTable(expected: Expected, measured: Measured[]): string {
  const notes = new Map<string, number>();
  const noted = (reason: string): string => {
    if (!notes.has(reason)) notes.set(reason, notes.size + 1);
    return `${NOTHING} <sup>${notes.get(reason)}</sup>`;
  };
  const cell = (quantity: Quantity, { without, shown }: Measured): string => {
    const reason = without[quantity];
    return reason === undefined ? print(Object.values(shown[quantity] ?? {})[0]) : noted(reason);
  };
  const rows = QUANTITY_NAMES.map((quantity) =>
    row([
      QUANTITIES[quantity],
      print(expected[quantity]),
      ...measured.map((column) => cell(quantity, column)),
    ]),
  );
  return [
    row(['', 'recording', ...measured.map(({ title }) => title)]),
    row(['---', ...[undefined, ...measured].map(() => '--:')]),
    ...rows,
    '',
    ...[...notes].map(([reason, number]) => `<sup>${number}</sup> ${reason}.  `),
  ].join('\n');
}
