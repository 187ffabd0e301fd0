/**
 * What a backend must have after all the kills: exactly what one uninterrupted run makes of the lines that survived. The
 * log records show which lines survived. The promise says which may be lost: of the lines written to one process through
 * one socket only the last ones, and none that was written longer ago than the promised time.
 */
import { DURABLE_MS, type Line } from './feeder.js';
import type { Item, Received, Value } from './received.js';

export interface Survivors {
  lines: Line[];
  /** Lines that were allowed to be lost, and were. */
  lost_in_flight: number;
  problems: string[];
}

export const hasArrived = ({ logs }: Received, { ts_ms }: Line): boolean => logs.has(`${ts_ms}000000`);

const describeLine = ({ source, life, ts_ms, event }: Line): string =>
  `${event.type} ${ts_ms} (socket ${source}, process ${life})`;

/** `Map.groupBy` needs a newer Node. */
function groupBy(lines: Line[], groupOf: (line: Line) => string): Line[][] {
  const groups = new Map<string, Line[]>();
  for (const line of lines) {
    const group = groups.get(groupOf(line)) ?? [];
    groups.set(groupOf(line), group);
    group.push(line);
  }
  return [...groups.values()];
}

const partition = <T>(all: T[], isFirst: (each: T) => boolean): [first: T[], second: T[]] => [
  all.filter(isFirst),
  all.filter((each) => !isFirst(each)),
];

/** The survivors among the lines of one socket and one process, of which only a prefix may have survived. */
function survivorsOf(lines: Line[], ended_ms: number, isSeen: (line: Line) => boolean): Survivors {
  const isCertain = (line: Line): boolean => line.written_ms <= ended_ms - DURABLE_MS;
  const end = lines.findLastIndex((line) => line.is_marked && isSeen(line)) + 1;
  const holes = lines.slice(0, end).filter((line) => line.is_marked && !isSeen(line));
  const [certain, in_flight] = partition(lines.slice(end), isCertain);
  const late = certain.filter(({ is_marked }) => is_marked);
  const lost = new Set([...holes, ...late, ...in_flight]);
  return {
    lines: lines.filter((line) => !lost.has(line)),
    lost_in_flight: in_flight.filter(({ is_marked }) => is_marked).length,
    problems: [
      ...holes.map((line) => `lost, though a later line was not: ${describeLine(line)}`),
      ...late.map(
        (line) =>
          `lost, though written ${ended_ms - line.written_ms} ms before the end: ${describeLine(line)}`,
      ),
    ],
  };
}

/** `ended_ms`: when each process was killed, or told to end. */
export function findSurvivors(written: Line[], ended_ms: number[], backends: Received[]): Survivors {
  const isSeen = (line: Line): boolean => backends.some((received) => hasArrived(received, line));
  const groups = groupBy(written, ({ source, life }) => `${source} ${life}`).map((lines) =>
    survivorsOf(lines, ended_ms[lines[0]?.life ?? 0] ?? 0, isSeen),
  );
  const kept = new Set(groups.flatMap(({ lines }) => lines));
  return {
    lines: written.filter((line) => kept.has(line)),
    lost_in_flight: groups.reduce((sum, group) => sum + group.lost_in_flight, 0),
    problems: groups.flatMap(({ problems }) => problems),
  };
}

export interface Comparison {
  expected: number;
  /** Present and as expected. */
  right: number;
  missing: number;
  /** Copies beyond the first, which are allowed since they can be recognised. */
  again: number;
  problems: string[];
}

/** Compares descriptions by identity; a description has everything that must be equal. */
function compareTexts(what: string, expected: Map<string, string>, actual: Map<string, string>): Comparison {
  const problems: string[] = [];
  let [right, missing] = [0, 0];
  for (const [key, wanted] of expected) {
    const found = actual.get(key);
    if (found === wanted) right++;
    else if (found !== undefined)
      problems.push(`${what} is not as it should be: ${found}; expected: ${wanted}`);
    else {
      missing++;
      problems.push(`${what} missing: ${wanted}`);
    }
  }
  for (const [key, found] of actual)
    if (!expected.has(key)) problems.push(`${what} that nobody expects: ${found}`);
  return { expected: expected.size, right, missing, again: 0, problems };
}

const textsOf = (items: Map<string, Item>): Map<string, string> =>
  new Map([...items].map(([key, { text }]) => [key, text]));

/** Compares spans or log records. */
export function compareItems(
  what: string,
  expected: Map<string, Item>,
  actual: Map<string, Item>,
): Comparison {
  const compared = compareTexts(what, textsOf(expected), textsOf(actual));
  for (const { text, copies, contradictions } of actual.values()) {
    compared.again += copies - 1;
    for (const other of contradictions)
      compared.problems.push(`${what} comes again as another: ${text}, then ${other}`);
  }
  return compared;
}

/** Hides the rounding of sums that were added in another order. */
const rounded = (value: number): number => Number(value.toPrecision(9));

const describeSums = (sums: Map<string, Value>): Map<string, string> =>
  new Map(
    [...sums].map(([series, value]) => [
      series,
      `${series}: ${JSON.stringify({ ...value, sum: rounded(value.sum) })}`,
    ]),
  );

export const compareSums = (expected: Map<string, Value>, actual: Map<string, Value>): Comparison =>
  compareTexts('sum', describeSums(expected), describeSums(actual));

/** The comparisons of several backends as one. */
export function addComparisons(all: Comparison[]): Comparison {
  const sum = (count: 'expected' | 'right' | 'missing' | 'again'): number =>
    all.reduce((total, each) => total + each[count], 0);
  return {
    expected: sum('expected'),
    right: sum('right'),
    missing: sum('missing'),
    again: sum('again'),
    problems: all.flatMap(({ problems }) => problems),
  };
}

const TOKEN_COUNTERS: Readonly<Record<string, string>> = {
  input_tokens: 'gen_ai.client.inference.usage.input_tokens',
  output_tokens: 'gen_ai.client.inference.usage.output_tokens',
  cache_read_tokens: 'gen_ai.client.inference.usage.cache_read.input_tokens',
  reasoning_tokens: 'gen_ai.client.inference.usage.reasoning.output_tokens',
  cost_usd: 'openclaw.cost',
};

/**
 * Checks the uninterrupted run as well, since the same program made it: its tokens and cost against the sums of the lines.
 */
export function checkReference(lines: Line[], reference: Received): string[] {
  const calls = lines.filter(({ event, is_marked }) => is_marked && event.type === 'llm.tokens');
  const sums = [...reference.sums()];
  const problems = Object.entries(TOKEN_COUNTERS).flatMap(([field, counter]) => {
    const told = calls.reduce((sum, { event }) => sum + Number(event[field]), 0);
    const counted = sums
      .filter(([series]) => series.startsWith(`${counter} `))
      .reduce((sum, [, value]) => sum + value.sum, 0);
    return rounded(told) === rounded(counted) ? [] : [`${counter}: ${counted}, where the lines tell ${told}`];
  });
  const marked = lines.filter(({ is_marked }) => is_marked);
  if (reference.logs.size !== marked.length)
    problems.push(`${reference.logs.size} log records of ${marked.length} lines`);
  return problems.map((problem) => `the uninterrupted run: ${problem}`);
}
