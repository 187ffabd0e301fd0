/**
 * The pipeline: lines become events, events become emissions, and these reach the destinations in order. With a store, an
 * emission is held until the lines it comes from are on the disk.
 */
import { type Correlator, emptyEmission } from './correlate/index.js';
import type { Intake } from './intake.js';
import type { Destination } from './model/delivery.js';
import type { AgentEvent } from './model/event.js';
import type { LineBatch, Source } from './model/source.js';
import type { Emission, Measurement } from './model/telemetry.js';
import type { JournalEntry } from './persistence/journal.js';
import type { JournalOutcome, Persistence } from './persistence/persistence.js';
import type { SavedState } from './persistence/saved-state.js';

export interface PipelineParts {
  intake: Intake;
  correlator: Correlator;
  destinations: Destination[];
  persistence: Pick<Persistence, 'ready' | 'journal' | 'isRecoverable' | 'advance' | 'wake'> | undefined;
  recordMeasurements?: ((measurements: Measurement[]) => void) | undefined;
  /**
   * Called for each event of a source that can be read again: may change its times, delay it to keep a pace, or skip it
   * (undefined).
   */
  beforeEvent?: ((event: AgentEvent) => Promise<AgentEvent | undefined> | AgentEvent | undefined) | undefined;
  /** Called after each portion of what is emitted at the end; the next one waits for it. */
  afterPortion?: (() => Promise<void> | void) | undefined;
  now(): number;
}

export interface Pipeline {
  /** Applies a batch. Resolves with the number of its events. */
  take(source: Source, batch: LineBatch): Promise<number>;
  /**
   * Replays what the previous process read but did not finish, at the times at which it was first applied; answered items are
   * not sent again. `can_be_asked`: a source can be asked for missed events.
   */
  resume(saved: SavedState, can_be_asked: boolean): void;
  /** Starts the timer for deadlines. */
  start(): void;
  /** Stops the timer: after this only the calls below emit anything. */
  stop(): void;
  /** Emits ended items that only wait for late events: no source is left to report any. */
  emitEnded(): void;
  /** Ends everything that is open, and emits it. */
  close(): Promise<void>;
  /** Resolves when everything emitted so far has reached the destinations. */
  settled(): Promise<unknown>;
}

/** Ended items wait no longer than this for late events. */
const LATE_MS = 5_000;

/** The longest timeout of the timer; a later deadline is checked again then. */
const MAX_SLEEP_MS = 60_000;

/** A timer this late was not merely delayed: the process or the machine was asleep. */
const OVERSLEPT_MS = 60_000;

export function createPipeline(parts: PipelineParts): Pipeline {
  const { intake, correlator, destinations, persistence, now } = parts;
  let timer: NodeJS.Timeout | undefined;
  /** When the timer is to fire. */
  let wake_ms = Infinity;
  let is_stopped = false;
  let settled: Promise<unknown> = Promise.resolve();

  /** An emission that belongs to no batch derives from everything applied before it, so `is_recoverable` is that of all. */
  function deliver(emission: Emission, is_recoverable = persistence?.isRecoverable()): void {
    if (isEmpty(emission)) return;
    parts.recordMeasurements?.(emission.measurements);
    for (const destination of destinations) destination.accept(emission, is_recoverable);
    persistence?.wake();
  }

  /** Delivers an emission when its batch is in the journal, and after all emissions before it. */
  function deliverAfter(journaled: Promise<JournalOutcome> | undefined, emission: Emission): void {
    if (persistence === undefined) deliver(emission);
    else
      settled = Promise.all([settled, journaled]).then(([, outcome]) =>
        deliver(emission, outcome && outcome !== 'lost'),
      );
  }

  /** Sets the timer to the correlator's next deadline. Firing early or late is harmless. */
  function armTimer(): void {
    clearTimeout(timer);
    wake_ms = Infinity;
    const due_ms = correlator.nextDeadline();
    if (due_ms === undefined || is_stopped) return;
    const sleep_ms = Math.min(Math.max(0, due_ms - now()), MAX_SLEEP_MS);
    wake_ms = now() + sleep_ms;
    timer = setTimeout(expire, sleep_ms);
  }

  /** After a sleep, events reported meanwhile have not been read yet, so no run counts as idle. */
  function detectSleep(): void {
    if (now() - wake_ms > OVERSLEPT_MS) correlator.wake(now());
  }

  async function expire(): Promise<void> {
    detectSleep();
    await persistence?.ready();
    if (is_stopped) return;
    deliverAfter(undefined, correlator.expire(now()));
    armTimer();
  }

  /** Applies each deadline up to `now_ms` at its own time, whenever the timer fires, so that a replay gives the same result. */
  function expireUpTo(now_ms: number, out: Emission): void {
    for (
      let due_ms = correlator.nextDeadline();
      due_ms !== undefined && due_ms <= now_ms;
      due_ms = correlator.nextDeadline()
    )
      correlator.expire(due_ms, out);
  }

  /** Waits with the timer set: deadlines meanwhile do not wait for the next event. */
  async function armed<T>(wanted: Promise<T>): Promise<T> {
    armTimer();
    const value = await wanted;
    await persistence?.ready();
    return value;
  }

  /** Applies a batch that can be read again, at the wanted pace. Its position is noted once all of it is applied. */
  async function applyPaced(entry: JournalEntry): Promise<number> {
    const events = intake.take(entry.batch, entry.source);
    let out = emptyEmission();
    const emitSoFar = (): void => {
      deliverAfter(undefined, out);
      out = emptyEmission();
    };
    for (const event of events) {
      const shaped = parts.beforeEvent === undefined ? event : parts.beforeEvent(event);
      // What the events before it gave does not wait for this one.
      if (shaped instanceof Promise) emitSoFar();
      const wanted = shaped instanceof Promise ? await armed(shaped) : shaped;
      if (wanted !== undefined) correlator.apply(wanted, now(), out);
      else {
        // The position stays before this batch, so skipped events are read again when reading resumes from it.
        emitSoFar();
        return events.length;
      }
    }
    emitSoFar();
    persistence?.advance(entry);
    entry.batch.receipt?.settle(true);
    return events.length;
  }

  /** Journaling and applying are one synchronous step: a checkpoint has both or neither. */
  function applyJournaled(entry: JournalEntry): number {
    const journaled = persistence?.journal(entry);
    const { receipt } = entry.batch;
    if (receipt !== undefined) void journaled?.then((outcome) => receipt.settle(outcome === 'written'));
    const out = emptyEmission();
    expireUpTo(entry.now_ms, out);
    const events = intake.take(entry.batch, entry.source);
    for (const event of events) correlator.apply(event, entry.now_ms, out);
    deliverAfter(journaled, out);
    return events.length;
  }

  return {
    async take({ name, is_rereadable }, batch) {
      detectSleep();
      await persistence?.ready();
      const entry = { source: name, batch, now_ms: now() };
      const events =
        is_rereadable || persistence === undefined ? await applyPaced(entry) : applyJournaled(entry);
      armTimer();
      return events;
    },
    resume({ journal, positions, answers }, can_be_asked) {
      // The source may still report reasoning tokens for calls it has already reported.
      if (can_be_asked) correlator.waitForReasoning(Infinity);
      const out = emptyEmission();
      const apply = (events: AgentEvent[], now_ms: number): void => {
        for (const event of events) correlator.apply(event, now_ms, out);
      };
      for (const { source, batch, now_ms } of journal.entries) {
        expireUpTo(now_ms, out);
        apply(intake.take(batch, source), now_ms);
      }
      // Deadlines after the last journal entry may have passed, and been answered, in the previous process as well.
      expireUpTo(answers.last_ms, out);
      // A stream without a position was a connection, which ended with the process that read it.
      const going_on = new Set(Object.values(positions).flatMap(Object.keys));
      for (const stream of intake.streams()) if (!going_on.has(stream)) apply(intake.end(stream), now());
      deliver(out);
      correlator.wake(now());
    },
    start: armTimer,
    stop() {
      is_stopped = true;
      clearTimeout(timer);
    },
    emitEnded() {
      deliver(correlator.releaseEnded(now()));
      deliver(correlator.expire(now() + LATE_MS));
    },
    async close() {
      for (const event of intake.end()) deliver(correlator.apply(event, now()));
      for (const portion of inPortions(correlator.close(now()))) {
        deliver(portion);
        await parts.afterPortion?.();
      }
    },
    settled: () => settled,
  };
}

const isEmpty = ({ spans, previews, corrections, logs, measurements }: Emission): boolean =>
  [spans, previews, corrections, logs, measurements].every((part) => part.length === 0);

/** The final emission can be large, and must not overrun destinations that could take it at their own pace. */
const MAX_PORTION = 1_000;

function* inPortions(emission: Emission): Generator<Emission> {
  const { spans, previews, corrections, logs, measurements } = emission;
  const length = Math.max(...Object.values(emission).map((part) => part.length));
  for (let from = 0; from < length; from += MAX_PORTION) {
    const portion = <T>(all: T[]): T[] => all.slice(from, from + MAX_PORTION);
    yield {
      spans: portion(spans),
      previews: portion(previews),
      corrections: portion(corrections),
      logs: portion(logs),
      measurements: portion(measurements),
    };
  }
}
