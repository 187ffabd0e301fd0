/**
 * Takes checkpoints: everything is captured at one point in time, while nothing is applied, and then turned into records and
 * written while new data comes in. One transaction makes the checkpoint valid; most of its records are written early.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { STATE_PREFIX } from '../correlate/index.js';
import { DECODE_PREFIX } from '../intake.js';
import type { Destination, DestinationOutbox } from '../model/delivery.js';
import { joinCaptures, type RecordChange, type StagedCapture } from '../model/record.js';
import { ANSWERS_PREFIX } from './answer-log.js';
import type { AnswerRecorder } from './answer-recorder.js';
import type { CheckpointSchedule } from './checkpoint-schedule.js';
import { createEarlyWriter } from './early-writer.js';
import type { JournalCut, JournalWriter } from './journal-writer.js';
import type { Retention } from './retention.js';
import { POSITIONS, removalOf, type SavedState, scoped } from './saved-state.js';
import type { Writer } from './writer.js';

export interface Checkpoints {
  /** Takes a checkpoint of everything up to now. Resolves when it is over, whether or not it was written. */
  take(): Promise<void>;
  /** The checkpoint that is being taken. */
  underWay(): Promise<void> | undefined;
  /** Present while nothing may be applied; resolves when that is over. */
  standstill(): Promise<void> | undefined;
}

export interface CheckpointOptions {
  destinations: Destination[];
  outboxes: DestinationOutbox[];
  /** The current state of the stages: what has changed since the last capture, or everything. */
  capture(everything: boolean): StagedCapture[];
  /** Resolves when everything that was applied has reached the destinations. */
  settled(): Promise<unknown>;
  writer: Writer;
  journal_writer: JournalWriter;
  answer_recorder: AnswerRecorder;
  retention: Retention;
  schedule: CheckpointSchedule;
  /** Milliseconds on a monotonic clock. */
  clock(): number;
  onTaken(): void;
}

/** Entries turned into records in one go; small enough that reading, which resumes in between, is hardly delayed. */
const PORTION = 16;

/** The captures of one point in time. */
interface Instant {
  stages: StagedCapture[];
  outboxes: ReturnType<DestinationOutbox['capture']>[];
  cut: JournalCut;
  /** Answers to remove, and the positions; keys without the scope. */
  others: RecordChange[];
}

function capture(saved: SavedState, options: CheckpointOptions, everything: boolean): Instant {
  const stages = options.capture(everything);
  const outboxes = options.outboxes.map((outbox) => outbox.capture());
  const cut = options.journal_writer.cut();
  const answers = options.answer_recorder.cut();
  options.schedule.captured();
  const positions = { key: POSITIONS, value: Buffer.from(JSON.stringify(saved.positions)) };
  return { stages, outboxes, cut, others: [...answers, positions] };
}

export function createCheckpoints(saved: SavedState, options: CheckpointOptions): Checkpoints {
  const { store, scope } = saved;
  const { destinations, writer, retention, clock } = options;
  let standing: Promise<void> | undefined;
  let checkpointing: Promise<void> | undefined;

  async function captureAtRest(everything: boolean): Promise<Instant> {
    let goOn = (): void => undefined;
    standing = new Promise((resolve) => {
      goOn = resolve;
    });
    try {
      // Whoever was just told that it may apply something does so first.
      await nextTurn();
      // What was applied reaches the destinations once its chunk is written.
      await options.settled();
      await Promise.all(
        destinations.map((destination) => destination.collectMetrics(options.journal_writer.isRecoverable())),
      );
      return capture(saved, options, everything);
    } finally {
      standing = undefined;
      goOn();
    }
  }

  async function takeOne(): Promise<void> {
    const everything = writer.isFailing();
    const { stages, outboxes, cut, others } = await captureAtRest(everything);
    const state = joinCaptures(stages);
    const pending = joinCaptures(outboxes);
    const captures = joinCaptures([state, pending]);
    const early_writer = createEarlyWriter((changes) => writer.write(scoped(scope, changes)));
    const gathering = store.gather();
    // A capture of everything replaces all records written before, including those that a failed checkpoint was to remove.
    const stale = everything ? removalOf(saved, [STATE_PREFIX, DECODE_PREFIX, ANSWERS_PREFIX]) : [];
    const removals = retention.takeChanges();
    gathering.add([...stale, ...scoped(scope, [...cut.changes, ...others]), ...removals]);
    let work_ms = 0;
    for (let isDone = false; !isDone; ) {
      const began_ms = clock();
      isDone = captures.advance(PORTION);
      const early = stages.flatMap((stage) => stage.takeAhead());
      const outgoing = pending.take();
      retention.note(outgoing);
      gathering.add(scoped(scope, state.take()));
      gathering.add(outgoing);
      work_ms += clock() - began_ms;
      await early_writer.add(early);
      await nextTurn();
    }
    // Early records are not valid without the final transaction, and it is incomplete without them.
    const { ok } = (await early_writer.written()) ? writer.note(await gathering.write()) : { ok: false };
    for (const outbox of outboxes) outbox.written(ok);
    cut.written(ok);
    if (ok) writer.recover();
    else retention.putBack(removals);
    for (const destination of destinations) destination.sendMetrics();
    await retention.enforce();
    options.schedule.ended(work_ms);
    options.onTaken();
  }

  return {
    /** One at a time. A caller who asks while one is being taken gets another, since that one may lack the newest data. */
    async take() {
      await checkpointing;
      checkpointing ??= takeOne().finally(() => {
        checkpointing = undefined;
      });
      return checkpointing;
    },
    underWay: () => checkpointing,
    standstill: () => standing,
  };
}
