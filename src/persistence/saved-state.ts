/**
 * The persisted state of a bridge: journal, positions, state of the stages, and what its destinations have pending. This file
 * reads what the previous process stored; `persistence.ts` writes it. A `run` and a `replay` have separate records in the same
 * store, but share what is pending.
 */
import type { SavedDeliveries } from '../model/delivery.js';
import type { RecordChange, SavedRecord } from '../model/record.js';
import type { Store, StoreChange } from '../store/index.js';
import { newInstanceId } from '../util/instance-id.js';
import { ANSWERS_PREFIX, decodeAnswers, mergeAnswers } from './answer-log.js';
import { decodeEntries, JOURNAL_PREFIX, type JournalEntry } from './journal.js';

/** How far sources were read, by source name and stream. Plain data. */
export type Positions = Record<string, Record<string, unknown>>;

export const POSITIONS = 'positions';
/** The key of the instance id, under which metrics are counted. */
const INSTANCE = 'instance';

export interface SavedState {
  store: Store;
  /** The prefix of this command's keys: `run/` or `replay/`. */
  scope: string;
  /** In the order in which they were applied. */
  journal: { records: SavedRecord[]; entries: JournalEntry[] };
  /** Where each source resumes. */
  positions: Positions;
  answers: { keys: string[]; last_ms: number };
  /** The number of records of the journal, the positions and the answers that can't be used. */
  unusable_records: number;
  /** The records whose keys begin with this prefix; the prefix and the keys are without the scope. */
  records(prefix: string): Iterable<SavedRecord>;
  deliveries: SavedDeliveries;
}

/** Adds the scope to the keys of changes. */
export const scoped = <C extends StoreChange>(scope: string, changes: readonly C[]): C[] =>
  changes.map((change) => ({ ...change, key: scope + change.key }));

/** The changes that remove a command's records under these prefixes. */
export const removalOf = ({ store, scope }: SavedState, prefixes: readonly string[]): RecordChange[] =>
  prefixes.flatMap((prefix) => Array.from(store.keys(scope + prefix), (key) => ({ key })));

function* unscoped(records: Iterable<SavedRecord>, scope: string): Generator<SavedRecord> {
  for (const { key, value } of records) yield { key: key.slice(scope.length), value };
}

const decodePositions = (value: Uint8Array): Positions =>
  JSON.parse(Buffer.from(value).toString()) as Positions;

/** Records, what the usable ones hold, and how many are not: the store returns no damaged ones, so those are of another version. */
function readRecords<T>(saved: Iterable<SavedRecord>, decode: (value: Uint8Array) => T) {
  const records = [...saved];
  const contents = records.flatMap(({ value }) => {
    try {
      return [decode(value)];
    } catch {
      return [];
    }
  });
  return { records, contents, unusable: records.length - contents.length };
}

/** Advances the position of a batch's stream past the batch. */
export function advancePosition(positions: Positions, { source, batch }: Omit<JournalEntry, 'now_ms'>): void {
  const { stream, end, position } = batch;
  if (end) delete positions[source]?.[stream];
  else if (position !== undefined) {
    // Mutated in place: a directory of transcripts can have thousands of streams.
    positions[source] ??= {};
    positions[source][stream] = position;
  }
}

/** Whether the source can be asked for missed events. Only a gateway can: its one stream has the source's name. */
export const isGateway = (positions: Positions, source: string): boolean =>
  positions[source]?.[source] !== undefined;

/**
 * Whether a batch comes again if it was not written: its source can be asked for it, or its sender resends it until it is
 * answered.
 */
export const comesAgain = (positions: Positions, { source, batch }: Omit<JournalEntry, 'now_ms'>): boolean =>
  batch.receipt !== undefined || isGateway(positions, source);

type Command = 'run' | 'replay';

/** Removes all records of this command; what is pending stays. If they can't be removed, nothing has changed. */
export async function forget(saved: SavedState): Promise<SavedState | { problem: string }> {
  const { store, scope } = saved;
  const written = await store.write(removalOf(saved, ['']));
  if (!written.ok) return { problem: written.message };
  return openSavedState(store, scope.slice(0, -1) as Command);
}

/** The instance id of a `run`. A `replay` counts separately, under an id derived from its recordings. */
function instanceOf(store: Store, scope: string): string {
  const key = scope + INSTANCE;
  const known = store.get(key);
  if (known !== undefined) return Buffer.from(known).toString();
  const id = newInstanceId();
  // Writes keep their order, so the id is stored before anything that is counted under it.
  void store.write([{ key, value: Buffer.from(id) }]);
  return id;
}

/** Reads what the previous process left in the store. */
export function openSavedState(store: Store, command: Command): SavedState {
  const scope = `${command}/`;
  const records = (prefix: string): Iterable<SavedRecord> => unscoped(store.entries(scope + prefix), scope);
  const journal = readRecords(records(JOURNAL_PREFIX), decodeEntries);
  const known = readRecords(records(POSITIONS), decodePositions);
  const answers = readRecords(records(ANSWERS_PREFIX), decodeAnswers);
  const entries = journal.contents.flat();
  const [positions = {}] = known.contents;
  for (const entry of entries) advancePosition(positions, entry);
  return {
    store,
    scope,
    journal: { records: journal.records, entries },
    positions,
    answers: {
      keys: answers.records.map(({ key }) => key),
      last_ms: answers.contents.reduce((last_ms, { at_ms }) => Math.max(last_ms, at_ms), 0),
    },
    unusable_records: journal.unusable + known.unusable + answers.unusable,
    records,
    deliveries: {
      instance_id: command === 'run' ? instanceOf(store, scope) : undefined,
      entries: (prefix) => store.entries(prefix),
      read: (key) => store.get(key),
      answers: mergeAnswers(answers.contents),
    },
  };
}
