/**
 * What the program did, as data: the summary that is printed at the end, written with `--summary`, and turned into an exit
 * status.
 */
import type { SourceCounts } from './intake.js';
import type { Destination, DestinationCounts, SignalCounts } from './model/delivery.js';
import { counted } from './util/counted.js';

/** Runs of agents. */
export interface RunCounts {
  opened: number;
  ended: number;
  open: number;
  /** Runs into which a gap fell: events were missed and could not be fetched again. Absent if none. */
  with_gap?: number;
  /** What limits closed or left out, by the limit's name. Absent if nothing. */
  given_up?: Record<string, number>;
}

/** The counts of a bridge: of all its sources together, of runs, and by destination and signal. */
export interface Summary {
  version: 1;
  source: SourceCounts;
  runs: RunCounts;
  destinations: Record<string, DestinationCounts>;
}

/** The number of reasons named in one line of output. */
const MAX_NAMED_REASONS = 3;

export const EXIT = {
  /** Everything that was decoded has been acknowledged. */
  ok: 0,
  /** Could not run, or `validate` or `doctor` found problems. */
  failed: 1,
  /** Wrong usage or configuration. */
  usage: 2,
  /** Ran, but something was dropped, rejected or is still pending. */
  incomplete: 3,
} as const;

export const summariseDestinations = (destinations: Destination[]): Summary['destinations'] =>
  Object.fromEntries(destinations.map((destination) => [destination.name, destination.summary()]));

export const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

const isIncomplete = (counts: SignalCounts): boolean =>
  counts.pending > 0 || sum(counts.rejected) > 0 || sum(counts.dropped) > 0;

/** With `strict`, bad lines are a failure too. */
export function exitStatus(summary: Summary, strict: boolean): number {
  const signals = Object.values(summary.destinations).flatMap((destination) => Object.values(destination));
  const isBad = signals.some(isIncomplete) || (strict && sum(summary.source.rejected) > 0);
  return isBad ? EXIT.incomplete : EXIT.ok;
}

/** `3 rejected: 2 http_400, 1 poison`, the most frequent reasons first; empty if there are none. */
export function describeReasons(word: string, counts: Record<string, number>): string {
  const reasons = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const named = reasons.slice(0, MAX_NAMED_REASONS).map(([reason, count]) => `${count} ${reason}`);
  if (named.length < reasons.length) named.push('…');
  return named.length === 0 ? '' : `${sum(counts)} ${word}: ${named.join(', ')}`;
}

function describeSignal(
  signal: string,
  { produced, delivered, pending, rejected, dropped }: SignalCounts,
): string {
  const rest = [
    pending > 0 ? `${pending} pending` : '',
    describeReasons('rejected', rejected),
    describeReasons('dropped', dropped),
  ];
  const missing = rest.filter((each) => each !== '').join(', ');
  return `${signal} ${delivered}/${produced}${missing === '' ? '' : ` (${missing})`}`;
}

/** Descriptions of what went wrong with runs. */
export const describeFaults = ({ with_gap = 0, given_up = {} }: RunCounts): string[] =>
  [with_gap === 0 ? '' : `${with_gap} with a gap`, describeReasons('given up', given_up)].filter(
    (fault) => fault !== '',
  );

/** The summary in words: a line for sources and runs, and one for each destination. */
export function describeSummary({ source, runs, destinations }: Summary): string[] {
  const lines = [describeReasons('ignored', source.ignored), describeReasons('bad', source.rejected)];
  const read = [
    `read ${counted(source.lines, 'line')}`,
    counted(source.events, 'event'),
    ...lines.filter((each) => each !== ''),
  ];
  return [
    `${read.join('; ')}; ${[counted(runs.opened, 'run'), `${runs.ended} ended`, ...describeFaults(runs)].join(', ')}`,
    ...Object.entries(destinations).map(
      ([name, counts]) =>
        `${name}: delivered ${Object.entries(counts)
          .map(([signal, each]) => describeSignal(signal, each))
          .join(' · ')}`,
    ),
  ];
}
