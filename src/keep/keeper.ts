/**
 * Writes down what a bridge keeps: each chunk as it comes, what was answered several times a second, and at a checkpoint
 * everything at one instant. Where nothing can be written it says so and goes on without, until it can. Here the parts of that
 * are put together, and it is decided what is to be written when.
 */
import { DEAD_LETTERS_PREFIX, type Destination, type DestinationKeeping } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { RecordChange, StagedCapture } from '../model/record.js';
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
  /** Where the store is, for people. */
  place: string;
  destinations: Destination[];
  /** The state of the stages at this instant: what has changed since the last time, or everything. */
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
  /** To be awaited before anything is applied: everything has to stand still, or a bound is reached. */
  ready(): Promise<void>;
  /** Writes down a batch that is about to be applied. Resolves when that is done, or can't be. */
  journal(entry: JournalEntry): Promise<Journaled>;
  /** Whether the next start finds, or is told again, everything that was applied. */
  isKept(): boolean;
  /** Notes where a batch of a source that can be read again leaves it. */
  advance(entry: JournalEntry): void;
  /** From now on it keeps up. */
  start(): void;
  /** Something has happened that the ledger may tell, or that answers are to be expected of. */
  wake(): void;
  /** Writes down what has been answered and the ledger, and takes a checkpoint where one is due. */
  keepUp(): Promise<void>;
  /** Resolves when it is taken, written or not. */
  checkpoint(): Promise<void>;
  /** It keeps up no longer. Resolves when nothing is being written down. */
  stop(): Promise<void>;
  /** What ends with this process is counted as that. */
  giveUp(): void;
  /** Writes down how the process ended. `forget`: the next one begins anew. */
  close(options: { forget: boolean }): Promise<void>;
}

/** Chunks on their way to the disk, over which reading waits; and in the journal, over which a checkpoint is due. */
const MAX_UNWRITTEN_BYTES = 2 * 1024 * 1024;
/**
 * What is on its way to the disk becomes spans and records at once when it is there, and these can take ten times its length: it is
 * no more than this part of the least that a destination's signals may hold in memory.
 */
const UNWRITTEN_SHARE = 1 / 32;
const MAX_JOURNAL_BYTES = 32 * 1024 * 1024;

/** Dead letters that could not be written wait in memory up to here; the newer ones are lost. */
const MAX_UNWRITTEN_LETTERS_BYTES = 1024 * 1024;

/** Collects and sends, where nothing is written down in between. */
export async function sendMetrics(destinations: Destination[], is_kept = true): Promise<void> {
  await Promise.all(destinations.map((destination) => destination.collectMetrics(is_kept)));
  for (const destination of destinations) destination.sendMetrics();
}

/** Of changes that could not be written those that nobody else knows of any more: removals, and dead letters. */
function toBeWrittenLater(changes: readonly RecordChange[]): RecordChange[] {
  let letters_bytes = 0;
  return changes.filter(({ key, value }) => {
    if (value === undefined) return true;
    if (!key.startsWith(DEAD_LETTERS_PREFIX)) return false;
    letters_bytes += value.length;
    return letters_bytes <= MAX_UNWRITTEN_LETTERS_BYTES;
  });
}

/** The parts of a keeper. */
function createParts(kept: Kept, options: KeeperOptions) {
  const { destinations, clock } = options;
  const keepings: DestinationKeeping[] = destinations.flatMap(({ keeping }) => keeping ?? []);
  const writer = createWriter(kept.store, options.place, keepings, options.logger);
  const journaling = createJournaling(kept, writer);
  const retention = createRetention(kept.store, destinations, options.store_limit_bytes);
  if (retention.orphans() > 0)
    options.logger.warn(
      `${retention.orphans()} records are pending for destinations that are not named here; they stay`,
    );
  const ledger = createLedgerRecord(kept.store, options.ledger, clock);
  const pace = createPace({ interval_ms: options.checkpoint_interval_ms, clock });
  const answering = createAnswering(kept, {
    destinations,
    now: options.now,
    onAnswers(signal, changes) {
      ledger.note();
      // Metrics are collected at each checkpoint: if their answers asked for the next one, there would be no rest.
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
  /** A bound is reached that a checkpoint makes room under. */
  const isPressed = (): boolean =>
    journaling.bytes() > MAX_JOURNAL_BYTES || keepings.some((keeping) => keeping.isPressed());

  return { keepings, writer, journaling, retention, ledger, pace, answering, checkpoints, isPressed };
}

type Parts = ReturnType<typeof createParts>;

/** What is written down between two checkpoints, but for the journal, and when the next one is taken. */
function createUpkeep(parts: Parts, { destinations, clock }: KeeperOptions) {
  const { writer, journaling, answering, retention, ledger, pace, checkpoints, isPressed } = parts;
  let unwritten: RecordChange[] = [];

  const takeChanges = (): RecordChange[] => [...unwritten, ...answering.take(), ...retention.takeChanges()];

  /** Not while a checkpoint is taken: it has the answers that came before it, and those that came since go after it. */
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
    // While nothing can be written, it is only looked whether it can again.
    if (writer.isFailing()) {
      if (!is_due) return;
      await sendMetrics(destinations, journaling.isKept());
      pace.ended();
    } else if (checkpoints.underWay() === undefined && (isPressed() || is_due)) await checkpoints.take();
  }

  return { takeChanges, keepUp };
}

/** What ends with this process is counted as that. */
function giveUpUnkept({ keepings, writer, journaling }: Parts, { place, logger }: KeeperOptions): void {
  if (writer.isFailing())
    logger.error(
      `${place} could not be written to the end: what was held in memory alone ends with this process, but for what its source still has`,
    );
  if (journaling.isKept()) return;
  for (const keeping of keepings) keeping.giveUpUnkept(`${place} could not be written`);
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

  /** Where nothing has happened and no answer can come, there is nothing to be found before the next is due. */
  function restMs(): number {
    if (ledger.isOld() || destinations.some((destination) => destination.pending() > 0)) return 0;
    return Math.min(ledger.idleDueMs(), pace.dueMs()) - clock();
  }

  const giveUp = (): void => giveUpUnkept(parts, options);

  async function stop(): Promise<void> {
    await rhythm.stop();
    await checkpoints.underWay();
  }

  return {
    async ready() {
      if (journaling.unwrittenBytes() > max_unwritten_bytes) await options.settled();
      // While nothing can be written, what comes is in no journal, nor in the checkpoint that is being taken: it waits for that one.
      if (writer.isFailing() || isPressed()) await checkpoints.underWay();
      if (!writer.isFailing() && isPressed()) await checkpoints.take();
      while (checkpoints.standstill() !== undefined) await checkpoints.standstill();
    },
    journal(entry) {
      noteChange(entry);
      return journaling.add(entry);
    },
    advance(entry) {
      // Until it is written down the next start would take this source for one that was never read.
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
    stop,
    giveUp,
    async close({ forget }) {
      await stop();
      giveUp();
      const changes = takeChanges();
      const last_ledger = ledger.takeLast();
      // All that begins with its scope.
      const forgotten = forget ? removalOf(kept, ['']) : [];
      await writer.write([...changes, last_ledger, ...forgotten]);
    },
  };
}
