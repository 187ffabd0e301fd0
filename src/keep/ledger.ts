/**
 * The ledger: what a bridge has done up to now, and what it has still to do, as `status` prints it. It is written down once a
 * second while something happens, so that it can be read beside a bridge that runs, and after one that stopped.
 */
import { noCounts, type SourceCounts } from '../intake.js';
import type { DeliveryProblem, Destination, Signal, SignalCounts } from '../model/delivery.js';
import type { RecordChange } from '../model/record.js';
import type { SourceStatus } from '../model/source.js';
import type { Store } from '../store/index.js';
import type { Summary } from '../summary.js';

/** The key of its record. */
export const LEDGER = 'ledger';

/** Counts are of the process; what the store held at its start counts as produced. */
export interface SignalLedger extends SignalCounts {
  /** Epoch milliseconds since when the oldest of what is pending has been. */
  pending_since_ms?: number;
  /** The last thing that went wrong. */
  last_error?: DeliveryProblem;
}

/** What was last said of a source: that it can't be read, and why, or that it can. */
export interface SourceCondition {
  state: SourceStatus['state'];
  message: string;
  /** Epoch milliseconds. */
  since_ms: number;
}

export type SourceLedger = SourceCounts & { condition?: SourceCondition };

export interface Ledger {
  version: 1;
  pid: number;
  /** False once the bridge has stopped in order; true after it was killed, too. */
  running: boolean;
  /** Epoch milliseconds. */
  started_ms: number;
  updated_ms: number;
  /** What the store takes up on the disk. */
  store_bytes: number;
  sources: Record<string, SourceLedger>;
  runs: Summary['runs'];
  destinations: Record<string, Partial<Record<Signal, SignalLedger>>>;
}

function destinationLedger(destination: Destination): Ledger['destinations'][string] {
  const since = destination.keeping?.since() ?? {};
  const problems = destination.problems?.() ?? {};
  const entries = Object.entries(destination.summary()) as [Signal, SignalCounts][];
  return Object.fromEntries(
    entries.map(([signal, counts]): [Signal, SignalLedger] => {
      const [pending_since_ms, last_error] = [since[signal], problems[signal]];
      return [
        signal,
        {
          ...counts,
          ...(pending_since_ms === undefined || counts.pending === 0 ? {} : { pending_since_ms }),
          ...(last_error === undefined ? {} : { last_error }),
        },
      ];
    }),
  );
}

/** A source of which nothing has come yet may have said that it can't be read. */
function sourceLedgers({ counts, conditions }: SourcesNow): Ledger['sources'] {
  const names = new Set([...Object.keys(counts), ...conditions.keys()]);
  return Object.fromEntries(
    [...names].map((name) => {
      const condition = conditions.get(name);
      return [name, { ...(counts[name] ?? noCounts()), ...(condition === undefined ? {} : { condition }) }];
    }),
  );
}

/** By the names of sources. */
export interface SourcesNow {
  counts: Record<string, SourceCounts>;
  conditions: ReadonlyMap<string, SourceCondition>;
}

export const createLedger = (
  { runs }: Summary,
  sources: SourcesNow,
  destinations: Destination[],
  { running, started_ms, now_ms }: { running: boolean; started_ms: number; now_ms: number },
): Omit<Ledger, 'store_bytes'> => ({
  version: 1,
  pid: process.pid,
  running,
  started_ms,
  updated_ms: now_ms,
  sources: sourceLedgers(sources),
  runs,
  destinations: Object.fromEntries(destinations.map((each) => [each.name, destinationLedger(each)])),
});

/** How often it is written while anything happens, and otherwise, to show that the bridge is at work. */
const INTERVAL_MS = 1_000;
const IDLE_INTERVAL_MS = 5_000;

/** The ledger as a record that is written when it is time. */
export interface LedgerRecord {
  /** Something has happened that it may tell. */
  note(): void;
  /** Something has, since it was taken last. */
  isOld(): boolean;
  /** By the clock, when it is due though nothing happens. */
  idleDueMs(): number;
  /** Nothing before it is due. */
  take(): RecordChange[];
  /** As it is at the end. */
  takeLast(): RecordChange;
}

export function createLedgerRecord(
  store: Store,
  ledger: (running: boolean) => Omit<Ledger, 'store_bytes'>,
  clock: () => number,
): LedgerRecord {
  let last_ms = Number.NEGATIVE_INFINITY;
  let is_old = true;

  const record = (running: boolean): RecordChange => ({
    key: LEDGER,
    value: Buffer.from(JSON.stringify({ ...ledger(running), store_bytes: store.usedBytes() })),
  });

  return {
    note() {
      is_old = true;
    },
    isOld: () => is_old,
    idleDueMs: () => last_ms + IDLE_INTERVAL_MS,
    take() {
      const now_ms = clock();
      if (now_ms - last_ms < (is_old ? INTERVAL_MS : IDLE_INTERVAL_MS)) return [];
      last_ms = now_ms;
      is_old = false;
      return [record(true)];
    },
    takeLast: () => record(false),
  };
}
