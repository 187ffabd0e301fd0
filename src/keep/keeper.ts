/**
 * Persists the state of a bridge: each chunk as it comes, answers several times a second, and at a checkpoint everything at one
 * point in time. If the store can't be written, it logs that and runs without it until it can. This file combines the parts and
 * decides what is written when.
 */
import { DEAD_LETTERS_PREFIX, type Destination, type DestinationKeeping } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { RecordChange, StagedCapture } from '../model/record.js';
import { counted } from '../util/counted.js';
import { createAnswering } from './answering.js';
import { createCheckpoints } from './checkpoint.js';
import type { JournalEntry } from './journal.js';
import { createJournaling, type Journaled } from './journaling.js';
import { advancePosition, type Kept, removalOf } from './kept.js';
import { createLedgerRecord, type Ledger } from './ledger.js';
import { createPace } from './pace.js';
import { createRetention } from './retention.js';
import { createRhythm } from './rhythm.js';
import { createWriter } from './writer.js';

export type { Journaled } from './journaling.js';

export interface KeeperOptions {
  /** Where the store is, for messages. */
  place: string;
  destinations: Destination[];
  /** The current state of the stages: what has changed since the last capture, or everything. */
  capture(everything: boolean): StagedCapture[];
  /** Resolves when everything that was applied has reached the destinations. */
  settled(): Promise<unknown>;
  ledger(running: boolean): Omit<Ledger, 'store_bytes'>;
  checkpoint_interval_ms: number;
  store_limit_bytes: number;
  logger: Logger;
  /** Epoch milliseconds. */
  now(): number;
  /** Milliseconds on a clock that never jumps. */
  clock(): number;
}

export interface Keeper {
  /** Must be awaited before anything is applied. Waits while a checkpoint captures the state, or while a limit is exceeded. */
  ready(): Promise<void>;
  /** Writes a batch that is about to be applied to the journal. Resolves when it is written, or can't be. */
  journal(entry: JournalEntry): Promise<Journaled>;
  /** Whether the next process will have everything that was applied, from the store or again from its source. */
  isKept(): boolean;
  /** Advances the position of a source that can be read again past a batch. */
  advance(entry: JournalEntry): void;
  /** Starts the periodic writing. */
  start(): void;
  /** Notes activity that may change the ledger or be followed by answers. */
  wake(): void;
  /** Writes answers and the ledger, and takes a checkpoint if one is due. */
  keepUp(): Promise<void>;
  /** Takes a checkpoint. Resolves when it is over, whether or not it was written. */
  checkpoint(): Promise<void>;
  /** From now on takes a checkpoint, with which metrics are collected, only if a limit is exceeded. */
  stopCollecting(): void;
  /** Stops the periodic writing. Resolves when no write is under way. */
  stop(): Promise<void>;
  /** Counts as dropped the data that is lost with this process. */
  dropUnstored(): void;
  /** Writes the final records. `forget`: the next process starts from nothing. */
  close(options: { forget: boolean }): Promise<void>;
}

/**
 * Bytes on their way to the journal, above which reading waits. The limit of the whole journal is MAX_JOURNAL_BYTES: above it a
 * checkpoint is due.
 */
const MAX_UNWRITTEN_BYTES = 2 * 1024 * 1024;
/**
 * Chunks on their way to the disk become spans and records all at once when they are written, at up to ten times their size.
 * They are limited to this fraction of the smallest memory limit of any destination's signals.
 */
const UNWRITTEN_SHARE = 1 / 32;
const MAX_JOURNAL_BYTES = 32 * 1024 * 1024;

/** Dead letters that could not be written wait in memory up to this size; newer ones are lost. */
const MAX_UNWRITTEN_LETTERS_BYTES = 1024 * 1024;

/** Collects and sends the metrics without a checkpoint in between. */
export async function sendMetrics(destinations: Destination[], is_kept = true): Promise<void> {
  await Promise.all(destinations.map((destination) => destination.collectMetrics(is_kept)));
  for (const destination of destinations) destination.sendMetrics();
}

/** Of changes that could not be written, those that are known nowhere else: removals and dead letters. */
function toBeWrittenLater(changes: readonly RecordChange[]): RecordChange[] {
  let letters_bytes = 0;
  return changes.filter(({ key, value }) => {
    if (value === undefined) return true;
    if (!key.startsWith(DEAD_LETTERS_PREFIX)) return false;
    letters_bytes += value.length;
    return letters_bytes <= MAX_UNWRITTEN_LETTERS_BYTES;
  });
}

function createParts(kept: Kept, options: KeeperOptions) {
  const { destinations, clock } = options;
  const keepings: DestinationKeeping[] = destinations.flatMap(({ keeping }) => keeping ?? []);
  const writer = createWriter(kept.store, options.place, keepings, options.logger);
  const journaling = createJournaling(kept, writer);
  const retention = createRetention(kept.store, destinations, options.store_limit_bytes);
  if (retention.orphans() > 0)
    options.logger.warn(
      `kept ${counted(retention.orphans(), 'pending record')} in ${options.place} for destinations that are not configured; configure them again to send the data`,
    );
  const ledger = createLedgerRecord(kept.store, options.ledger, clock);
  const pace = createPace({ interval_ms: options.checkpoint_interval_ms, clock });
  const answering = createAnswering(kept, {
    destinations,
    now: options.now,
    onAnswers(signal, changes) {
      ledger.note();
      // Metrics are collected at each checkpoint: if their answers made the next one due, there would be no end of checkpoints.
      if (signal !== 'metrics') pace.note();
      retention.note(changes);
    },
  });
  const checkpoints = createCheckpoints(kept, {
    ...options,
    keepings,
    writer,
    journaling,
    answering,
    retention,
    pace,
    onTaken: ledger.note,
  });
  /** Whether a limit is exceeded that a checkpoint relieves. */
  const isPressed = (): boolean =>
    journaling.bytes() > MAX_JOURNAL_BYTES || keepings.some((keeping) => keeping.isPressed());

  return { keepings, writer, journaling, retention, ledger, pace, answering, checkpoints, isPressed };
}

type Parts = ReturnType<typeof createParts>;

/** Writes everything but the journal between two checkpoints, and decides when the next one is taken. */
function createUpkeep(parts: Parts, { destinations, clock }: KeeperOptions) {
  const { writer, journaling, answering, retention, ledger, pace, checkpoints, isPressed } = parts;
  let unwritten: RecordChange[] = [];

  const takeChanges = (): RecordChange[] => [...unwritten, ...answering.take(), ...retention.takeChanges()];

  /**
   * Not called while a checkpoint is taken: the checkpoint covers the answers before it, and later ones are written after it.
   */
  async function flush(): Promise<void> {
    const changes = [...takeChanges(), ...ledger.take()];
    unwritten = [];
    if (changes.length === 0) return;
    const { ok } = await writer.write(changes);
    if (!ok) unwritten = toBeWrittenLater(changes);
    else if (writer.isFailing()) await checkpoints.take();
  }

  async function keepUp(): Promise<void> {
    if (checkpoints.underWay() !== undefined) return;
    await flush();
    const is_due = clock() >= pace.dueMs();
    // While the store is failing, flush() finds out whether it can be written again; here metrics are sent without a
    // checkpoint.
    if (writer.isFailing()) {
      if (!is_due) return;
      await sendMetrics(destinations, journaling.isKept());
      pace.ended();
    } else if (checkpoints.underWay() === undefined && (isPressed() || is_due)) await checkpoints.take();
  }

  return { takeChanges, keepUp };
}

/** Counts as dropped the data that is lost with this process. */
function dropUnstoredOf({ keepings, writer, journaling }: Parts, { place, logger }: KeeperOptions): void {
  if (writer.isFailing())
    logger.error(
      `${place} was still not writable when the bridge stopped: data held only in memory is lost, except what its source can deliver again`,
    );
  if (journaling.isKept()) return;
  for (const keeping of keepings)
    keeping.dropUnstored(`${place} was not writable; make it writable before you stop the bridge`);
}

export function createKeeper(kept: Kept, options: KeeperOptions): Keeper {
  const { destinations, clock } = options;
  const parts = createParts(kept, options);
  const { keepings, writer, journaling, ledger, pace, checkpoints, isPressed } = parts;
  const { keepUp, takeChanges } = createUpkeep(parts, options);
  const rhythm = createRhythm(keepUp, restMs);
  const max_unwritten_bytes = Math.min(
    MAX_UNWRITTEN_BYTES,
    ...keepings.map(({ memory_limit_bytes }) => memory_limit_bytes * UNWRITTEN_SHARE),
  );

  function noteChange(entry: JournalEntry): void {
    advancePosition(kept.positions, entry);
    pace.note();
    ledger.note();
    rhythm.wake();
  }

  /**
   * For how long there will be nothing to write: until the ledger or a checkpoint is due, if nothing has happened and no answer
   * is pending.
   */
  function restMs(): number {
    if (ledger.isOld() || destinations.some((destination) => destination.pending() > 0)) return 0;
    return Math.min(ledger.idleDueMs(), pace.dueMs()) - clock();
  }

  const dropUnstored = (): void => dropUnstoredOf(parts, options);

  async function stop(): Promise<void> {
    await rhythm.stop();
    await checkpoints.underWay();
  }

  return {
    async ready() {
      if (journaling.unwrittenBytes() > max_unwritten_bytes) await options.settled();
      // While the store is failing, what comes in is neither in the journal nor in the checkpoint under way: it waits for that
      // one to end.
      if (writer.isFailing() || isPressed()) await checkpoints.underWay();
      if (!writer.isFailing() && isPressed()) await checkpoints.take();
      while (checkpoints.standstill() !== undefined) await checkpoints.standstill();
    },
    journal(entry) {
      noteChange(entry);
      return journaling.add(entry);
    },
    advance(entry) {
      // Until its position is written, the next start would take this source for one that was never read.
      if (kept.positions[entry.source] === undefined) pace.hasten();
      noteChange(entry);
    },
    isKept: journaling.isKept,
    start: rhythm.start,
    wake() {
      ledger.note();
      rhythm.wake();
    },
    keepUp: rhythm.look,
    checkpoint: checkpoints.take,
    stopCollecting: pace.stop,
    stop,
    dropUnstored,
    async close({ forget }) {
      await stop();
      dropUnstored();
      const changes = takeChanges();
      const last_ledger = ledger.takeLast();
      // The last acknowledgements, too, would make the next process skip what it produces anew.
      const lasting = forget ? changes.filter(({ key }) => !key.startsWith(kept.scope)) : changes;
      const forgotten = forget ? removalOf(kept, ['']) : [];
      await writer.write([...lasting, last_ledger, ...forgotten]);
    },
  };
}
