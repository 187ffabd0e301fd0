/**
 * The pipeline: what is read becomes events, what those come to is given out, and it reaches the destinations in that order. Where
 * what is read is written down, nothing of it is given out before that.
 */
import { type Correlator, emptyEmission } from './correlate/index.js';
import type { Intake } from './intake.js';
import type { JournalEntry } from './keep/journal.js';
import type { Journaled, Keeper } from './keep/keeper.js';
import type { Kept } from './keep/kept.js';
import type { Destination } from './model/delivery.js';
import type { AgentEvent } from './model/event.js';
import type { LineBatch, Source } from './model/source.js';
import type { Emission, Measurement } from './model/telemetry.js';

export interface PipelineParts {
  intake: Intake;
  correlator: Correlator;
  destinations: Destination[];
  keeper: Keeper | undefined;
  recordMeasurements?: ((measurements: Measurement[]) => void) | undefined;
  /** Called for each event of what can be read again: may change its times, wait to keep a pace, or pass it over. */
  beforeEvent?: ((event: AgentEvent) => Promise<AgentEvent | undefined> | AgentEvent | undefined) | undefined;
  /** Called after each portion of what is given out at the end; the next one waits for it. */
  afterPortion?: (() => Promise<void> | void) | undefined;
  now(): number;
}

export interface Pipeline {
  /** Applies what was read. Gives the number of events that it held. */
  take(source: Source, batch: LineBatch): Promise<number>;
  /**
   * Applies what an earlier bridge read and did not get to the end of, as it was then: what was answered of it is sent no second
   * time. `can_be_asked`: a source can be asked for what it told before.
   */
  goOn(kept: Kept, can_be_asked: boolean): void;
  /** From now on what is due is given out when it is. */
  start(): void;
  /** Nothing is given out any more but by what follows. */
  stop(): void;
  /** Gives out what has ended and only waits in case something of it is late: nobody is there any more to tell it. */
  giveOutEnded(): void;
  /** Ends everything that is open, and gives it out. */
  close(): Promise<void>;
  /** Everything that was given out before has reached the destinations. */
  settled(): Promise<unknown>;
}

/** What has ended waits no longer than this for what belongs to it. */
const LATE_MS = 5_000;

/** The longest that a timer is set for: what lies further off is looked at again then. */
const MAX_SLEEP_MS = 60_000;

/** A timer that comes this late was not held up: the process, or the machine, was asleep. */
const OVERSLEPT_MS = 60_000;

export function createPipeline(parts: PipelineParts): Pipeline {
  const { intake, correlator, destinations, keeper, now } = parts;
  let timer: NodeJS.Timeout | undefined;
  /** When the timer is to come. */
  let wake_ms = Infinity;
  let is_stopped = false;
  let settled: Promise<unknown> = Promise.resolve();

  /** What is of no batch comes of all that was applied before. */
  function deliver(emission: Emission, is_kept = keeper?.isKept()): void {
    if (isEmpty(emission)) return;
    parts.recordMeasurements?.(emission.measurements);
    for (const destination of destinations) destination.accept(emission, is_kept);
    keeper?.wake();
  }

  /** Gives out what has come of a batch when that is written down, and after everything before it. */
  function deliverAfter(journaled: Promise<Journaled> | undefined, emission: Emission): void {
    if (keeper === undefined) deliver(emission);
    else
      settled = Promise.all([settled, journaled]).then(([, fate]) =>
        deliver(emission, fate && fate !== 'unkept'),
      );
  }

  /** Wakes the correlator when something in it is due. A timer that comes late or early does no harm. */
  function armTimer(): void {
    clearTimeout(timer);
    wake_ms = Infinity;
    const due_ms = correlator.nextDeadline();
    if (due_ms === undefined || is_stopped) return;
    const sleep_ms = Math.min(Math.max(0, due_ms - now()), MAX_SLEEP_MS);
    wake_ms = now() + sleep_ms;
    timer = setTimeout(expire, sleep_ms);
  }

  /** What was told meanwhile has not been read yet. */
  function noticeSleep(): void {
    if (now() - wake_ms > OVERSLEPT_MS) correlator.wake(now());
  }

  async function expire(): Promise<void> {
    noticeSleep();
    await keeper?.ready();
    deliverAfter(undefined, correlator.expire(now()));
    armTimer();
  }

  /** What is due by then, in its order, whenever the timer wakes: so that a journal gives the same again. */
  function expireUpTo(now_ms: number, out: Emission): void {
    for (
      let due_ms = correlator.nextDeadline();
      due_ms !== undefined && due_ms <= now_ms;
      due_ms = correlator.nextDeadline()
    )
      correlator.expire(due_ms, out);
  }

  /** Waits with the timer set: what is due meanwhile does not wait for the next event. */
  async function armed<T>(wanted: Promise<T>): Promise<T> {
    armTimer();
    const value = await wanted;
    await keeper?.ready();
    return value;
  }

  /** Applies what can be read again, at the pace that is wanted; where it got to is noted when all of it is applied. */
  async function applyPaced(entry: JournalEntry): Promise<number> {
    const events = intake.take(entry.batch, entry.source);
    let out = emptyEmission();
    const giveOut = (): void => {
      deliverAfter(undefined, out);
      out = emptyEmission();
    };
    for (const event of events) {
      const shaped = parts.beforeEvent === undefined ? event : parts.beforeEvent(event);
      // What comes of the events before does not wait for this one.
      if (shaped instanceof Promise) giveOut();
      const wanted = shaped instanceof Promise ? await armed(shaped) : shaped;
      if (wanted !== undefined) correlator.apply(wanted, now(), out);
      else {
        // What was passed over comes again where it is gone on from here.
        giveOut();
        return events.length;
      }
    }
    giveOut();
    keeper?.advance(entry);
    entry.batch.receipt?.settle(true);
    return events.length;
  }

  /** Writing it down and applying it are one step: a checkpoint has both or neither. */
  function applyJournaled(entry: JournalEntry): number {
    const journaled = keeper?.journal(entry);
    const { receipt } = entry.batch;
    if (receipt !== undefined) void journaled?.then((fate) => receipt.settle(fate === 'written'));
    const out = emptyEmission();
    expireUpTo(entry.now_ms, out);
    const events = intake.take(entry.batch, entry.source);
    for (const event of events) correlator.apply(event, entry.now_ms, out);
    deliverAfter(journaled, out);
    return events.length;
  }

  return {
    async take({ name, is_rereadable }, batch) {
      noticeSleep();
      await keeper?.ready();
      const entry = { source: name, batch, now_ms: now() };
      const events = is_rereadable || keeper === undefined ? await applyPaced(entry) : applyJournaled(entry);
      armTimer();
      return events;
    },
    goOn({ journal, positions, answers }, can_be_asked) {
      // It has more to tell of what it told.
      if (can_be_asked) correlator.waitForReasoning(Infinity);
      const out = emptyEmission();
      const apply = (events: AgentEvent[], now_ms: number): void => {
        for (const event of events) correlator.apply(event, now_ms, out);
      };
      for (const { source, batch, now_ms } of journal.entries) {
        expireUpTo(now_ms, out);
        apply(intake.take(batch, source), now_ms);
      }
      // What came due later may have been answered as well.
      expireUpTo(answers.last_ms, out);
      // A connection has ended with the process that read it.
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
    giveOutEnded() {
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

/** What is held at the end can be much, and may not overrun destinations that would have taken it in their own time. */
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
