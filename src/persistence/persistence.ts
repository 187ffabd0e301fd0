/**
 * Persists the state of a bridge: each chunk as it comes, answers several times a second, and at a checkpoint everything at one
 * point in time. If the store can't be written, it logs that and runs without it until it can. This file combines the parts and
 * decides what is written when.
 */
import { DEAD_LETTERS_PREFIX, type Destination, type DestinationOutbox } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { RecordChange, StagedCapture } from '../model/record.js';
import { counted } from '../util/counted.js';
import { createAnswerRecorder } from './answer-recorder.js';
import { createCheckpoints } from './checkpoint.js';
import { createCheckpointSchedule } from './checkpoint-schedule.js';
import type { JournalEntry } from './journal.js';
import { createJournalWriter, type JournalOutcome } from './journal-writer.js';
import { createLedgerRecord, type Ledger } from './ledger.js';
import { createPollLoop } from './poll-loop.js';
import { createRetention } from './retention.js';
import { advancePosition, removalOf, type SavedState } from './saved-state.js';
import { createWriter } from './writer.js';

export type { JournalOutcome } from './journal-writer.js';

export interface PersistenceOptions {
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

export interface Persistence {
  /** Must be awaited before anything is applied. Waits while a checkpoint captures the state, or while a limit is exceeded. */
  ready(): Promise<void>;
  /** Writes a batch that is about to be applied to the journal. Resolves when it is written, or can't be. */
  journal(entry: JournalEntry): Promise<JournalOutcome>;
  /** Whether the next process will have everything that was applied, from the store or again from its source. */
  isRecoverable(): boolean;
  /** Advances the position of a source that can be read again past a batch. */
  advance(entry: JournalEntry): void;
  /** Starts the periodic writing. */
  start(): void;
  /** Notes activity that may change the ledger or be followed by answers. */
  wake(): void;
  /** Writes answers and the ledger, and takes a checkpoint if one is due. */
  flush(): Promise<void>;
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
/**
 * Above these shares of the store's limit a checkpoint is due, too: what it writes is on the disk beside what it replaces.
 */
const JOURNAL_SHARE = 1 / 32;
const UNSAVED_SHARE = 1 / 16;

/** Dead letters that could not be written wait in memory up to this size; newer ones are lost. */
const MAX_UNWRITTEN_LETTERS_BYTES = 1024 * 1024;

/** Collects and sends the metrics without a checkpoint in between. */
export async function sendMetrics(destinations: Destination[], is_recoverable = true): Promise<void> {
  await Promise.all(destinations.map((destination) => destination.collectMetrics(is_recoverable)));
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

function createParts(saved: SavedState, options: PersistenceOptions) {
  const { destinations, clock } = options;
  const outboxes: DestinationOutbox[] = destinations.flatMap(({ outbox }) => outbox ?? []);
  const writer = createWriter(saved.store, options.place, outboxes, options.logger);
  const journal_writer = createJournalWriter(saved, writer);
  const retention = createRetention(saved.store, destinations, options.store_limit_bytes);
  if (retention.orphans() > 0)
    options.logger.warn(
      `kept ${counted(retention.orphans(), 'pending record')} in ${options.place} for destinations that are not configured; configure them again to send the data`,
    );
  const ledger = createLedgerRecord(saved.store, options.ledger, clock);
  const schedule = createCheckpointSchedule({ interval_ms: options.checkpoint_interval_ms, clock });
  const answer_recorder = createAnswerRecorder(saved, {
    destinations,
    now: options.now,
    onAnswers(signal, changes) {
      ledger.note();
      // Metrics are collected at each checkpoint: if their answers made the next one due, there would be no end of checkpoints.
      if (signal !== 'metrics') schedule.note();
      retention.note(changes);
    },
  });
  const checkpoints = createCheckpoints(saved, {
    ...options,
    outboxes,
    writer,
    journal_writer,
    answer_recorder,
    retention,
    schedule,
    onTaken: ledger.note,
  });
  const max_journal_bytes = Math.min(MAX_JOURNAL_BYTES, options.store_limit_bytes * JOURNAL_SHARE);
  const max_unsaved_bytes = options.store_limit_bytes * UNSAVED_SHARE;
  const unsavedBytes = (): number => outboxes.reduce((total, outbox) => total + outbox.unsavedBytes(), 0);
  /** Whether a limit is exceeded that a checkpoint relieves. */
  const isPressed = (): boolean =>
    journal_writer.bytes() > max_journal_bytes ||
    unsavedBytes() > max_unsaved_bytes ||
    outboxes.some((outbox) => outbox.isPressed());

  return {
    outboxes,
    writer,
    journal_writer,
    retention,
    ledger,
    schedule,
    answer_recorder,
    checkpoints,
    isPressed,
  };
}

type Parts = ReturnType<typeof createParts>;

/** Writes everything but the journal between two checkpoints, and decides when the next one is taken. */
function createFlush(parts: Parts, { destinations, clock }: PersistenceOptions) {
  const { writer, journal_writer, answer_recorder, retention, ledger, schedule, checkpoints, isPressed } =
    parts;
  let unwritten: RecordChange[] = [];

  const takeChanges = (): RecordChange[] => [
    ...unwritten,
    ...answer_recorder.take(),
    ...retention.takeChanges(),
  ];

  /**
   * Not called while a checkpoint is taken: the checkpoint covers the answers before it, and later ones are written after it.
   */
  async function writeChanges(): Promise<void> {
    const changes = [...takeChanges(), ...ledger.take()];
    unwritten = [];
    if (changes.length === 0) return;
    const { ok } = await writer.write(changes);
    if (ok && writer.isFailing()) await checkpoints.take();
    if (ok) return;
    unwritten = toBeWrittenLater(changes);
    // The next checkpoint removes all answers that are in the store, so those that are not need not be remembered.
    answer_recorder.cut();
  }

  async function flush(): Promise<void> {
    if (checkpoints.underWay() !== undefined) return;
    await writeChanges();
    await retention.enforceBetween();
    const is_due = clock() >= schedule.dueMs();
    // While the store is failing, writeChanges() finds out whether it can be written again; here metrics are sent without a
    // checkpoint.
    if (writer.isFailing()) {
      if (!is_due) return;
      await sendMetrics(destinations, journal_writer.isRecoverable());
      schedule.ended();
    } else if (checkpoints.underWay() === undefined && (isPressed() || is_due)) await checkpoints.take();
  }

  return { takeChanges, flush };
}

/** Counts as dropped the data that is lost with this process. */
function dropUnstoredOf(
  { outboxes, writer, journal_writer }: Parts,
  { place, logger }: PersistenceOptions,
): void {
  if (writer.isFailing())
    logger.error(
      `${place} was still not writable when the bridge stopped: data held only in memory is lost, except what its source can deliver again`,
    );
  if (journal_writer.isRecoverable()) return;
  for (const outbox of outboxes)
    outbox.dropUnstored(`${place} was not writable; make it writable before you stop the bridge`);
}

export function createPersistence(saved: SavedState, options: PersistenceOptions): Persistence {
  const { destinations, clock } = options;
  const parts = createParts(saved, options);
  const { outboxes, writer, journal_writer, ledger, schedule, checkpoints, isPressed } = parts;
  const { flush, takeChanges } = createFlush(parts, options);
  const poll_loop = createPollLoop(flush, restMs);
  const max_unwritten_bytes = Math.min(
    MAX_UNWRITTEN_BYTES,
    ...outboxes.map(({ memory_limit_bytes }) => memory_limit_bytes * UNWRITTEN_SHARE),
  );

  function noteChange(entry: JournalEntry): void {
    advancePosition(saved.positions, entry);
    schedule.note();
    ledger.note();
    poll_loop.wake();
  }

  /**
   * For how long there will be nothing to write: until the ledger or a checkpoint is due, if nothing has happened and no answer
   * is pending.
   */
  function restMs(): number {
    if (ledger.isOld() || destinations.some((destination) => destination.pending() > 0)) return 0;
    return Math.min(ledger.idleDueMs(), schedule.dueMs()) - clock();
  }

  const dropUnstored = (): void => dropUnstoredOf(parts, options);

  async function stop(): Promise<void> {
    await poll_loop.stop();
    await checkpoints.underWay();
  }

  return {
    async ready() {
      if (journal_writer.unwrittenBytes() > max_unwritten_bytes) await options.settled();
      // While the store is failing, what comes in is neither in the journal nor in the checkpoint under way: it waits for that
      // one to end.
      if (writer.isFailing() || isPressed()) await checkpoints.underWay();
      if (!writer.isFailing() && isPressed()) await checkpoints.take();
      while (checkpoints.standstill() !== undefined) await checkpoints.standstill();
    },
    journal(entry) {
      noteChange(entry);
      return journal_writer.add(entry);
    },
    advance(entry) {
      // Until its position is written, the next start would take this source for one that was never read.
      if (saved.positions[entry.source] === undefined) schedule.hasten();
      noteChange(entry);
    },
    isRecoverable: journal_writer.isRecoverable,
    start: poll_loop.start,
    wake() {
      ledger.note();
      poll_loop.wake();
    },
    flush: poll_loop.poll,
    checkpoint: checkpoints.take,
    stopCollecting: schedule.stop,
    stop,
    dropUnstored,
    async close({ forget }) {
      await stop();
      dropUnstored();
      const changes = takeChanges();
      const last_ledger = ledger.takeLast();
      // The last acknowledgements, too, would make the next process skip what it produces anew.
      const lasting = forget ? changes.filter(({ key }) => !key.startsWith(saved.scope)) : changes;
      const forgotten = forget ? removalOf(saved, ['']) : [];
      await writer.write([...lasting, last_ledger, ...forgotten]);
    },
  };
}
