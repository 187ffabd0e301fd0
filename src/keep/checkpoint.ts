/**
 * Takes checkpoints: everything at one instant, while everything stands still, and then turned into records and written beside
 * what goes on coming. One transaction makes it count; most of its records are written ahead of that.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { STATE_PREFIX } from '../correlate/index.js';
import { DECODE_PREFIX } from '../intake.js';
import type { Destination, DestinationKeeping } from '../model/delivery.js';
import { joinCaptures, type RecordChange, type StagedCapture } from '../model/record.js';
import { createAhead } from './ahead.js';
import type { Answering } from './answering.js';
import type { JournalCut, Journaling } from './journaling.js';
import { type Kept, POSITIONS, removalOf, scoped } from './kept.js';
import type { Pace } from './pace.js';
import type { Retention } from './retention.js';
import type { Writer } from './writer.js';

export interface Checkpoints {
  /** Resolves when one is taken that has all there is now, written or not. */
  take(): Promise<void>;
  /** The one that is being taken. */
  underWay(): Promise<void> | undefined;
  /** Present while everything has to stand still; resolves when it may go on. */
  standstill(): Promise<void> | undefined;
}

export interface CheckpointOptions {
  destinations: Destination[];
  keepings: DestinationKeeping[];
  /** The state of the stages at this instant: what has changed since the last time, or everything. */
  capture(everything: boolean): StagedCapture[];
  /** Resolves when everything that was applied has reached the destinations. */
  settled(): Promise<unknown>;
  writer: Writer;
  journaling: Journaling;
  answering: Answering;
  retention: Retention;
  pace: Pace;
  /** Milliseconds on a clock that never jumps. */
  clock(): number;
  onTaken(): void;
}

/** Entries that are turned into records at one go: what comes in goes on between two portions, and hardly notices them. */
const PORTION = 16;

/** Everything at one instant. */
interface Instant {
  stages: StagedCapture[];
  outboxes: ReturnType<DestinationKeeping['capture']>[];
  cut: JournalCut;
  /** Of the bridge's scope. */
  others: RecordChange[];
}

function capture(kept: Kept, options: CheckpointOptions, everything: boolean): Instant {
  const stages = options.capture(everything);
  const outboxes = options.keepings.map((keeping) => keeping.capture());
  const cut = options.journaling.cut();
  const answers = options.answering.cut();
  options.pace.captured();
  const positions = { key: POSITIONS, value: Buffer.from(JSON.stringify(kept.positions)) };
  return { stages, outboxes, cut, others: [...answers, positions] };
}

export function createCheckpoints(kept: Kept, options: CheckpointOptions): Checkpoints {
  const { store, scope } = kept;
  const { destinations, writer, retention, clock } = options;
  let standing: Promise<void> | undefined;
  let checkpointing: Promise<void> | undefined;

  async function captureAtRest(everything: boolean): Promise<Instant> {
    let goOn = (): void => undefined;
    standing = new Promise((resolve) => {
      goOn = resolve;
    });
    try {
      // What was applied reaches the destinations when its chunk is written.
      await options.settled();
      await Promise.all(
        destinations.map((destination) => destination.collectMetrics(options.journaling.isKept())),
      );
      return capture(kept, options, everything);
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
    const ahead = createAhead((changes) => writer.write(scoped(scope, changes)));
    const gathering = store.gather();
    // What is captured whole takes the place of all that was written before.
    const stale = everything ? removalOf(kept, [STATE_PREFIX, DECODE_PREFIX]) : [];
    gathering.add([...stale, ...scoped(scope, [...cut.changes, ...others])]);
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
      await ahead.add(early);
      await nextTurn();
    }
    // None of what is ahead counts without the rest, and the rest is nothing without it.
    const { ok } = (await ahead.written()) ? writer.note(await gathering.write()) : { ok: false };
    for (const outbox of outboxes) outbox.written(ok);
    cut.written(ok);
    if (ok) writer.recover();
    for (const destination of destinations) destination.sendMetrics();
    await retention.keep();
    options.pace.ended(work_ms);
    options.onTaken();
  }

  return {
    /** One at a time: who asks for one while one is being taken has to have another. */
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
