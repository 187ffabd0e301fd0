/**
 * What a bridge keeps between two starts: its journal, its positions and state, and what its destinations have pending. Here
 * is how the next start finds it; `keeper.ts` writes it down. A `run` and a `replay` keep their own in the same store, and
 * share what is pending.
 */
import type { SavedDeliveries } from '../model/delivery.js';
import type { RecordChange, SavedRecord } from '../model/record.js';
import type { Store, StoreChange } from '../store/index.js';
import { newInstanceId } from '../util/instance-id.js';
import { ANSWERS_PREFIX, decodeAnswers, mergeAnswers } from './answer-log.js';
import { decodeEntries, JOURNAL_PREFIX, type JournalEntry } from './journal.js';

/** How far sources were read: by the source's name and the stream's. Plain data. */
export type Positions = Record<string, Record<string, unknown>>;

export const POSITIONS = 'positions';
/** Under which name the metrics are counted. */
const INSTANCE = 'instance';

export interface Kept {
  store: Store;
  /** Whose it is: its records begin so. */
  scope: string;
  /** In the order in which they were applied. */
  journal: { records: SavedRecord[]; entries: JournalEntry[] };
  /** Where each source goes on. */
  positions: Positions;
  answers: { keys: string[]; last_ms: number };
  /** The records that begin so, without the scope. */
  records(prefix: string): Iterable<SavedRecord>;
  deliveries: SavedDeliveries;
}

/** Changes of a command's records, as the store has them. */
export const scoped = <C extends StoreChange>(scope: string, changes: readonly C[]): C[] =>
  changes.map((change) => ({ ...change, key: scope + change.key }));

/** What removes the records of a command that begin so, as they stand. */
export const removalOf = ({ store, scope }: Kept, prefixes: readonly string[]): RecordChange[] =>
  prefixes.flatMap((prefix) => Array.from(store.keys(scope + prefix), (key) => ({ key })));

function* unscoped(records: Iterable<SavedRecord>, scope: string): Generator<SavedRecord> {
  for (const { key, value } of records) yield { key: key.slice(scope.length), value };
}

function readPositions(value: Uint8Array | undefined): Positions {
  if (value === undefined) return {};
  try {
    return JSON.parse(Buffer.from(value).toString()) as Positions;
  } catch {
    return {};
  }
}

function* readEntries(records: SavedRecord[]): Generator<JournalEntry> {
  for (const { value } of records) {
    try {
      yield* decodeEntries(value);
    } catch {
      // The store gives out no record that was damaged: this one is of another version.
    }
  }
}

/** Notes where a batch leaves its stream. */
export function advancePosition(positions: Positions, { source, batch }: Omit<JournalEntry, 'now_ms'>): void {
  const { stream, end, position } = batch;
  if (end) delete positions[source]?.[stream];
  else if (position !== undefined) {
    // Changed in place: a directory of transcripts can have thousands of streams.
    const streams = positions[source] ?? {};
    streams[stream] = position;
    positions[source] = streams;
  }
}

/** Whether it can be asked for what it told before: a gateway's one stream has its source's name. */
export const isGateway = (positions: Positions, source: string): boolean =>
  positions[source]?.[source] !== undefined;

/** Whether what was read comes again where it was not written down: its source can be asked for it, or its sender waits for word. */
export const comesAgain = (positions: Positions, { source, batch }: Omit<JournalEntry, 'now_ms'>): boolean =>
  batch.receipt !== undefined || isGateway(positions, source);

type Command = 'run' | 'replay';

/** Begins anew in a store: what is pending stays, and nothing else of this command. */
export async function forget(kept: Kept): Promise<Kept> {
  const { store, scope } = kept;
  await store.write(removalOf(kept, ['']));
  return openKept(store, scope.slice(0, -1) as Command);
}

/** Of a `run`: a `replay` counts apart, under a name that its recordings give it. */
function instanceOf(store: Store, scope: string): string {
  const key = scope + INSTANCE;
  const known = store.get(key);
  if (known !== undefined) return Buffer.from(known).toString();
  const id = newInstanceId();
  // What is counted under it is written down after it.
  void store.write([{ key, value: Buffer.from(id) }]);
  return id;
}

/** What an earlier process left in this store. */
export function openKept(store: Store, command: Command): Kept {
  const scope = `${command}/`;
  const records = (prefix: string): Iterable<SavedRecord> => unscoped(store.entries(scope + prefix), scope);
  const journal = [...records(JOURNAL_PREFIX)];
  const positions = readPositions(store.get(scope + POSITIONS));
  const entries = [...readEntries(journal)];
  for (const entry of entries) advancePosition(positions, entry);
  const answers = [...records(ANSWERS_PREFIX)];
  const logs = answers.flatMap(({ value }) => decodeAnswers(value) ?? []);
  return {
    store,
    scope,
    journal: { records: journal, entries },
    positions,
    answers: {
      keys: answers.map(({ key }) => key),
      last_ms: logs.reduce((last_ms, { at_ms }) => Math.max(last_ms, at_ms), 0),
    },
    records,
    deliveries: {
      instance_id: command === 'run' ? instanceOf(store, scope) : undefined,
      entries: (prefix) => store.entries(prefix),
      read: (key) => store.get(key),
      answers: mergeAnswers(logs),
    },
  };
}
