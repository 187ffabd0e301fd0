/**
 * What the program did, as data: the summary that is printed at the end, written with `--summary`, and turned into an exit
 * status.
 */
import type { SourceCounts } from './intake.js';
import type { Destination, DestinationCounts, SignalCounts } from './model/delivery.js';

export interface Summary {
  version: 1;
  source: SourceCounts;
  runs: { opened: number; ended: number; open: number };
  destinations: Record<string, DestinationCounts>;
}

export const EXIT = {
  /** All that was decoded is acknowledged. */
  ok: 0,
  /** Could not run, or `validate` found problems. */
  failed: 1,
  /** Usage or configuration. */
  usage: 2,
  /** Ran, but something was dropped, refused or is still pending. */
  incomplete: 3,
} as const;

export const summariseDestinations = (destinations: Destination[]): Summary['destinations'] =>
  Object.fromEntries(destinations.map((destination) => [destination.name, destination.summary()]));

const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

const isIncomplete = (counts: SignalCounts): boolean =>
  counts.pending > 0 || sum(counts.rejected) > 0 || sum(counts.dropped) > 0;

/** With `strict`, bad lines are a failure too. */
export function exitStatus(summary: Summary, strict: boolean): number {
  const signals = Object.values(summary.destinations).flatMap((destination) => Object.values(destination));
  const isBad = signals.some(isIncomplete) || (strict && sum(summary.source.rejected) > 0);
  return isBad ? EXIT.incomplete : EXIT.ok;
}

function describeSignal(
  signal: string,
  { produced, delivered, pending, rejected, dropped }: SignalCounts,
): string {
  const reasons = (word: string, counts: Record<string, number>): string[] =>
    Object.entries(counts).map(([reason, count]) => `${count} ${word} (${reason})`);
  const lost = [...reasons('rejected', rejected), ...reasons('dropped', dropped)];
  const rest = [...(pending > 0 ? [`${pending} pending`] : []), ...lost];
  return `${signal} ${delivered}/${produced}${rest.length > 0 ? `, ${rest.join(', ')}` : ''}`;
}

/** The summary in a line per part, for people. */
export function describeSummary({ source, runs, destinations }: Summary): string[] {
  const bad = sum(source.rejected);
  return [
    `read ${source.lines} lines: ${source.events} events${bad > 0 ? `, ${bad} bad lines` : ''}; ${runs.opened} runs, ${runs.ended} ended`,
    ...Object.entries(destinations).map(
      ([name, counts]) =>
        `${name}: ${Object.entries(counts)
          .map(([signal, each]) => describeSignal(signal, each))
          .join(' · ')} delivered`,
    ),
  ];
}
