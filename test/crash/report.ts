/**
 * The results for people: a line per round, and a table with a row per behaviour of the backend.
 */
import { BEHAVIOURS } from './backend.js';
import type { RoundResult } from './round.js';

const MAX_PROBLEMS = 8;
const MAX_PROBLEM_CHARS = 500;

const repeat = ({ plan }: RoundResult): string =>
  `npm run test:crash -- --kills ${plan.kills} --rounds 1 --seed ${plan.seed}`;

function describeProblems(result: RoundResult): string[] {
  const { problems, directory } = result;
  const shown = problems.slice(0, MAX_PROBLEMS).map((problem) => problem.slice(0, MAX_PROBLEM_CHARS));
  const more = problems.length > MAX_PROBLEMS ? [`… and ${problems.length - MAX_PROBLEMS} more`] : [];
  return [...shown, ...more, `what is left of it: ${directory}`, `once more: ${repeat(result)}`];
}

export function describeRound(result: RoundResult, number: string): string {
  const { plan, setting, quiet_kills, lines, lost_in_flight, spans, problems } = result;
  const line = [
    `${problems.length === 0 ? 'ok    ' : 'FAILED'} ${number}`,
    `seed ${plan.seed}`,
    plan.behaviour,
    setting,
    `${plan.kills} kills (${quiet_kills} quiet)`,
    `${lines} lines, ${lost_in_flight} lost in flight`,
    `${spans.right} of ${spans.expected} spans`,
  ].join(' · ');
  return problems.length === 0 ? line : [line, ...describeProblems(result)].join('\n         ');
}

type Column = [title: string, value: (results: RoundResult[]) => string];

const sumOf =
  (field: (result: RoundResult) => number) =>
  (results: RoundResult[]): string =>
    String(results.reduce((sum, result) => sum + field(result), 0));

const COLUMNS: Column[] = [
  ['kills', sumOf(({ plan }) => plan.kills)],
  ['quiet', sumOf(({ quiet_kills }) => quiet_kills)],
  ['lines', sumOf(({ lines }) => lines)],
  ['in flight', sumOf(({ lost_in_flight }) => lost_in_flight)],
  ['spans', sumOf(({ spans }) => spans.expected)],
  ['right', sumOf(({ spans }) => spans.right)],
  ['missing', sumOf(({ spans }) => spans.missing)],
  ['again', sumOf(({ spans }) => spans.again)],
  ['logs missing', sumOf(({ logs }) => logs.missing)],
  ['sums', sumOf(({ sums }) => sums.expected)],
  ['right', sumOf(({ sums }) => sums.right)],
  ['ledgers', sumOf(({ ledgers }) => ledgers)],
  ['failed', (results) => String(results.filter(({ problems }) => problems.length > 0).length)],
];

/** The first column is a name, the others are numbers. */
function alignColumns(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}

export function describeTotals(results: RoundResult[]): string {
  const row = (name: string, of: RoundResult[]): string[] => [name, ...COLUMNS.map(([, value]) => value(of))];
  const behaviours = BEHAVIOURS.map(
    (name) => [name, results.filter(({ plan }) => plan.behaviour === name)] as const,
  );
  const shown = behaviours.filter(([, of]) => of.length > 0).map(([name, of]) => row(name, of));
  return alignColumns([['', ...COLUMNS.map(([title]) => title)], ...shown, row('all', results)]).join('\n');
}
