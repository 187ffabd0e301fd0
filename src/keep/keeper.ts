/**
 * Writes down what a bridge keeps: each chunk as it comes, what was answered several times a second, and at a checkpoint
 * everything at one instant. One transaction makes a checkpoint count; most of its records are written ahead of it, beside the
 * chunks that go on coming. Where nothing can be written it says so and goes on without, until it can.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { STATE_PREFIX } from '../correlate/index.js';
import { DECODE_PREFIX } from '../intake.js';
import { DEAD_LETTERS_PREFIX, type Destination, type DestinationKeeping } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import { joinCaptures, keyNumber, type RecordChange, type StagedCapture } from '../model/record.js';
import type { Changes, StoreChange, Written } from '../store/index.js';
import { createAhead } from './ahead.js';
import { ANSWERS_PREFIX, type AnswerLog, encodeAnswers } from './answer-log.js';
import { createJournal, type JournalEntry } from './journal.js';
import { advancePosition, comesAgain, type Kept, POSITIONS } from './kept.js';
import { LEDGER, type Ledger } from './ledger.js';
import { createRetention } from './retention.js';

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
  /** Something was given out, so that answers are to be expected. */
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

/** What became of a batch: it is on the disk; or it is not, and comes again in the next process, or is lost with this one. */
export type Journaled = 'written' | 'comes_again' | 'unkept';

/** Entries that are turned into records at one go: what comes in goes on between two portions, and hardly notices them. */
const PORTION = 16;

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

/** Work on checkpoints takes no more than this part of the time: a large state is written down less often. */
const WORK_SHARE = 0.02;

/**
 * Nothing may have happened for so long before the metrics are collected all the same; while nothing goes on happening they are
 * collected less and less often. Whoever asks for what happened in a minute still finds two of them there.
 */
const IDLE_INTERVAL_MS = 10_000;
const MAX_IDLE_INTERVAL_MS = 30_000;

/** How often it is looked for what is to be written down, unless everything is at rest: answers are within a second. */
const LOOK_INTERVAL_MS = 250;

/** How often the ledger is written while anything happens, and otherwise, to show that the bridge is at work. */
const LEDGER_INTERVAL_MS = 1_000;
const IDLE_LEDGER_INTERVAL_MS = 5_000;

/** Collects and sends, where nothing is written down in between. */
export async function sendMetrics(destinations: Destination[], is_kept = true): Promise<void> {
  await Promise.all(destinations.map((destination) => destination.collectMetrics(is_kept)));
  for (const destination of destinations) destination.sendMetrics();
}

export function createKeeper(kept: Kept, options: KeeperOptions): Keeper {
  const { store, scope } = kept;
  const { destinations, logger, clock } = options;
  const journal = createJournal(kept.journal.records);
  const retention = createRetention(store, destinations, options.store_limit_bytes);
  if (retention.orphans() > 0)
    logger.warn(
      `${retention.orphans()} records are pending for destinations that are not named here; they stay`,
    );
  let answer_keys = kept.answers.keys;
  /** No other process gives its records the same keys. */
  const process_id = randomBytes(4).toString('hex');
  let answer_number = 0;
  /** What could not be written, and nobody else knows of any more: removals, and dead letters. */
  let unwritten: RecordChange[] = [];
  /** Everything that was journaled has been written, or can't be. */
  let journaled: Promise<void> = Promise.resolve();
  /** The last record of the journal that is to be written, or has been. */
  let record: Promise<Written> = Promise.resolve({ ok: true });
  let unwritten_bytes = 0;
  /** Present while everything has to stand still. */
  let standing: Promise<void> | undefined;
  let checkpointing: Promise<void> | undefined;
  let keeping_up: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let is_stopped = false;
  /** The next look is far off. */
  let is_at_rest = false;
  let is_failing = false;
  /** Batches that could not be written down and do not come again: all, and those that a checkpoint has what came of. */
  let unkept = 0;
  let saved_unkept = 0;
  let is_dirty = kept.journal.records.length > 0 || answer_keys.length > 0;
  let last_checkpoint_ms = clock();
  let last_ledger_ms = Number.NEGATIVE_INFINITY;
  /** Something has happened that the ledger may tell. */
  let is_ledger_old = true;
  let interval_ms = options.checkpoint_interval_ms;
  let idle_interval_ms = IDLE_INTERVAL_MS;

  const keepings: DestinationKeeping[] = destinations.flatMap(({ keeping }) => keeping ?? []);
  const max_unwritten_bytes = Math.min(
    MAX_UNWRITTEN_BYTES,
    ...keepings.map(({ memory_limit_bytes }) => memory_limit_bytes * UNWRITTEN_SHARE),
  );

  const scoped = <C extends StoreChange>(changes: readonly C[]): C[] =>
    changes.map((change) => ({ ...change, key: scope + change.key }));

  function setFailing(failing: boolean): void {
    is_failing = failing;
    for (const keeping of keepings) keeping.setWritable(!failing);
  }

  function fail(message: string): void {
    if (is_failing) return;
    logger.error(
      `can't write to ${options.place}: ${message}; what comes is held in memory alone, and a crash would lose it`,
    );
    setFailing(true);
  }

  function recover(): void {
    if (!is_failing) return;
    logger.info(`${options.place} can be written again`);
    setFailing(false);
  }

  function noteWritten(written: Written): Written {
    if (!written.ok) fail(written.message);
    return written;
  }

  function noteChange(entry: JournalEntry): void {
    advancePosition(kept.positions, entry);
    is_dirty = true;
    is_ledger_old = true;
    wake();
  }

  const write = async (changes: Changes): Promise<Written> => noteWritten(await store.write(changes));

  /** A bound is reached that a checkpoint makes room under. */
  const isPressed = (): boolean =>
    journal.bytes() > MAX_JOURNAL_BYTES || keepings.some((keeping) => keeping.isPressed());

  const checkpointDue = (): number => last_checkpoint_ms + (is_dirty ? interval_ms : idle_interval_ms);

  const isLongAgo = (): boolean => clock() >= checkpointDue();

  const isKept = (): boolean => unkept === saved_unkept;

  /** A batch could not be written down. */
  function notWritten(comes_again: boolean): Journaled {
    if (!comes_again) unkept += 1;
    return comes_again ? 'comes_again' : 'unkept';
  }

  /** Takes note of everything at one instant. */
  async function captureAll(everything: boolean) {
    let goOn = (): void => undefined;
    standing = new Promise((resolve) => {
      goOn = resolve;
    });
    try {
      // What was applied reaches the destinations when its chunk is written.
      await options.settled();
      await Promise.all(destinations.map((destination) => destination.collectMetrics(isKept())));
      const stages = options.capture(everything);
      const outboxes = keepings.map((keeping) => keeping.capture());
      const cut = journal.cut();
      const answers = answer_keys.map((key) => ({ key }));
      answer_keys = [];
      idle_interval_ms = is_dirty ? IDLE_INTERVAL_MS : Math.min(2 * idle_interval_ms, MAX_IDLE_INTERVAL_MS);
      is_dirty = false;
      const positions = { key: POSITIONS, value: Buffer.from(JSON.stringify(kept.positions)) };
      return { stages, outboxes, cut, others: [...answers, positions], unkept };
    } finally {
      standing = undefined;
      goOn();
    }
  }

  /** What removes the records of this scope that begin so, as they stand. */
  const removal = (prefixes: string[]): RecordChange[] =>
    prefixes.flatMap((prefix) => [...store.keys(scope + prefix)].map((key) => ({ key })));

  async function takeCheckpoint(): Promise<void> {
    const everything = is_failing;
    const { stages, outboxes, cut, others, unkept: captured } = await captureAll(everything);
    const state = joinCaptures(stages);
    const pending = joinCaptures(outboxes);
    const captures = joinCaptures([state, pending]);
    const ahead = createAhead((changes) => write(scoped(changes)));
    const gathering = store.gather();
    // What is captured whole takes the place of all that was written before.
    const stale = everything ? removal([STATE_PREFIX, DECODE_PREFIX]) : [];
    gathering.add([...stale, ...scoped([...cut, ...others])]);
    let work_ms = 0;
    for (let isDone = false; !isDone; ) {
      const began_ms = clock();
      isDone = captures.advance(PORTION);
      const early = stages.flatMap((stage) => stage.takeAhead());
      gathering.add(scoped(state.take()));
      const outgoing = pending.take();
      retention.note(outgoing);
      gathering.add(outgoing);
      work_ms += clock() - began_ms;
      await ahead.add(early);
      await nextTurn();
    }
    // None of what is ahead counts without the rest, and the rest is nothing without it.
    const { ok } = (await ahead.written()) ? noteWritten(await gathering.write()) : { ok: false };
    for (const outbox of outboxes) outbox.written(ok);
    if (ok) {
      saved_unkept = captured;
      recover();
    } else journal.undoCut(cut);
    for (const destination of destinations) destination.sendMetrics();
    retention.keep();
    interval_ms = Math.max(options.checkpoint_interval_ms, work_ms / WORK_SHARE);
    last_checkpoint_ms = clock();
    is_ledger_old = true;
  }

  /** One at a time: who asks for one while one is being taken has to have another. */
  async function checkpoint(): Promise<void> {
    await checkpointing;
    checkpointing ??= takeCheckpoint().finally(() => {
      checkpointing = undefined;
    });
    return checkpointing;
  }

  function takeAnswers(): RecordChange[] {
    const changes: RecordChange[] = [];
    const log: AnswerLog = { at_ms: options.now(), answers: [] };
    for (const { name: destination, keeping } of destinations) {
      for (const [signal, outgoing] of Object.entries(keeping?.takeAnswers() ?? {})) {
        is_ledger_old = true;
        // Metrics are collected at each checkpoint: if their answers asked for the next one, there would be no rest.
        if (signal !== 'metrics') is_dirty = true;
        retention.note(outgoing.changes);
        changes.push(...outgoing.changes);
        const { ids, places } = outgoing.answers;
        if (ids.length > 0 || Object.keys(places).length > 0)
          log.answers.push({ destination, signal, ids, places });
      }
    }
    if (log.answers.length > 0) {
      const key = `${ANSWERS_PREFIX}${process_id}-${keyNumber(answer_number++)}`;
      answer_keys.push(key);
      changes.push(...scoped([{ key, value: encodeAnswers(log) }]));
    }
    return changes;
  }

  const ledgerChange = (ledger: Omit<Ledger, 'store_bytes'>): RecordChange => ({
    key: LEDGER,
    value: Buffer.from(JSON.stringify({ ...ledger, store_bytes: store.usedBytes() })),
  });

  function takeLedger(): RecordChange[] {
    const now_ms = clock();
    if (now_ms - last_ledger_ms < (is_ledger_old ? LEDGER_INTERVAL_MS : IDLE_LEDGER_INTERVAL_MS)) return [];
    last_ledger_ms = now_ms;
    is_ledger_old = false;
    return [ledgerChange(options.ledger(true))];
  }

  /** Not while a checkpoint is taken: it has the answers that came before it, and those that came since go after it. */
  async function flush(): Promise<void> {
    const changes = [...unwritten, ...takeAnswers(), ...retention.takeChanges(), ...takeLedger()];
    unwritten = [];
    if (changes.length === 0) return;
    const { ok } = await write(changes);
    if (!ok) keepUnwritten(changes);
    else if (is_failing) await checkpoint();
  }

  function keepUnwritten(changes: readonly RecordChange[]): void {
    let letters_bytes = 0;
    unwritten = changes.filter(({ key, value }) => {
      if (value === undefined) return true;
      if (!key.startsWith(DEAD_LETTERS_PREFIX)) return false;
      letters_bytes += value.length;
      return letters_bytes <= MAX_UNWRITTEN_LETTERS_BYTES;
    });
  }

  async function keepUp(): Promise<void> {
    if (checkpointing !== undefined) return;
    await flush();
    // While nothing can be written, it is only looked whether it can again.
    if (is_failing) {
      if (!isLongAgo()) return;
      await sendMetrics(destinations, isKept());
      last_checkpoint_ms = clock();
    } else if (checkpointing === undefined && (isPressed() || isLongAgo())) await checkpoint();
  }

  /** One at a time. */
  function keepUpOnce(): Promise<void> {
    keeping_up ??= keepUp().finally(() => {
      keeping_up = undefined;
    });
    return keeping_up;
  }

  /** Where nothing has happened and no answer can come, there is nothing to be found before the next is due. */
  function untilNextLook(): number {
    if (is_ledger_old || destinations.some((destination) => destination.pending() > 0))
      return LOOK_INTERVAL_MS;
    const due_ms = Math.min(last_ledger_ms + IDLE_LEDGER_INTERVAL_MS, checkpointDue());
    return Math.max(LOOK_INTERVAL_MS, due_ms - clock());
  }

  function lookIn(wait_ms: number): void {
    is_at_rest = wait_ms > LOOK_INTERVAL_MS;
    clearTimeout(timer);
    timer = setTimeout(() => void keepUpOnce().then(look), wait_ms);
  }

  function look(): void {
    if (!is_stopped) lookIn(untilNextLook());
  }

  function wake(): void {
    if (is_at_rest && !is_stopped) lookIn(LOOK_INTERVAL_MS);
  }

  function giveUp(): void {
    if (is_failing)
      logger.error(
        `${options.place} could not be written to the end: what was held in memory alone ends with this process, but for what its source still has`,
      );
    if (isKept()) return;
    for (const keeping of keepings) keeping.giveUpUnkept(`${options.place} could not be written`);
  }

  async function stop(): Promise<void> {
    is_stopped = true;
    clearTimeout(timer);
    await keeping_up;
    await checkpointing;
  }

  return {
    async ready() {
      if (unwritten_bytes > max_unwritten_bytes) await options.settled();
      // While nothing can be written, what comes is in no journal, nor in the checkpoint that is being taken: it waits for that one.
      if (is_failing || isPressed()) await checkpointing;
      if (!is_failing && isPressed()) await checkpoint();
      while (standing !== undefined) await standing;
    },
    journal(entry) {
      noteChange(entry);
      const comes_again = comesAgain(kept.positions, entry);
      if (is_failing) return Promise.resolve(notWritten(comes_again));
      // Nothing here keeps hold of the entry: its chunk is garbage once it is applied, long before it is written.
      const { change, bytes } = journal.add(entry);
      if (change !== undefined) record = write(() => scoped([change()]));
      unwritten_bytes += bytes;
      const before = journaled;
      const written = record.then(({ ok }) => {
        unwritten_bytes -= bytes;
        const journaled = ok ? 'written' : notWritten(comes_again);
        return before.then((): Journaled => journaled);
      });
      journaled = written.then(() => undefined);
      return written;
    },
    advance(entry) {
      // Until it is written down the next start would take this source for one that was never read.
      if (kept.positions[entry.source] === undefined) last_checkpoint_ms = Number.NEGATIVE_INFINITY;
      noteChange(entry);
    },
    isKept,
    start: look,
    wake,
    keepUp: keepUpOnce,
    checkpoint,
    stop,
    giveUp,
    async close({ forget }) {
      await stop();
      giveUp();
      const changes = [...unwritten, ...takeAnswers(), ...retention.takeChanges()];
      const last_ledger = ledgerChange(options.ledger(false));
      // All that begins with its scope.
      const forgotten = forget ? removal(['']) : [];
      await write([...changes, last_ledger, ...forgotten]);
    },
  };
}
