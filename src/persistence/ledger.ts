/**
 * The ledger: the status record that `status` prints, with what a bridge has done so far and what is pending. It is written
 * once a second while something happens, so it can be read beside a running bridge and after one has stopped.
 */
import { noCounts, type SourceCounts } from '../intake.js';
import type { DeliveryProblem, Destination, Signal, SignalCounts } from '../model/delivery.js';
import type { RecordChange } from '../model/record.js';
import type { SourceStatus } from '../model/source.js';
import type { Store } from '../store/index.js';
import type { Summary } from '../summary.js';

/** The key of the record. */
export const LEDGER = 'ledger';

/** Counts of this process; items that were in the store at its start count as produced. */
export interface SignalLedger extends SignalCounts {
  /** When the oldest pending item was accepted, in epoch milliseconds. */
  pending_since_ms?: number;
  /** The most recent error. */
  last_error?: DeliveryProblem;
}

/** The last reported status of a source: readable, or not and why. */
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
  /** False after an orderly stop; still true after the process was killed. */
  running: boolean;
  /** Epoch milliseconds. */
  started_ms: number;
  updated_ms: number;
  /** The size of the store on the disk. */
  store_bytes: number;
  sources: Record<string, SourceLedger>;
  runs: Summary['runs'];
  destinations: Record<string, Partial<Record<Signal, SignalLedger>>>;
}

function destinationLedger(destination: Destination): Ledger['destinations'][string] {
  const since = destination.outbox?.since() ?? {};
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

/** Includes sources without lines that have reported a status, such as one that can't be read. */
function sourceLedgers({ counts, conditions }: SourcesNow): Ledger['sources'] {
  const names = new Set([...Object.keys(counts), ...conditions.keys()]);
  return Object.fromEntries(
    [...names].map((name) => {
      const condition = conditions.get(name);
      return [name, { ...(counts[name] ?? noCounts()), ...(condition === undefined ? {} : { condition }) }];
    }),
  );
}

/** Counts and conditions by source name. */
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

/** How often it is written: while something happens, and otherwise, to show that the bridge is running. */
const INTERVAL_MS = 1_000;
const IDLE_INTERVAL_MS = 5_000;

/** The ledger as a record, written when it is due. */
export interface LedgerRecord {
  /** Notes activity that changes the ledger. */
  note(): void;
  /** Whether there was activity since it was last taken. */
  isOld(): boolean;
  /** When it is due without activity, on the monotonic clock. */
  idleDueMs(): number;
  /** The record, or nothing if it is not due. */
  take(): RecordChange[];
  /** The final record, of a bridge that has stopped. */
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
