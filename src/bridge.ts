/**
 * Composes the bridge: sources → intake → correlator → destinations. Only this file knows all of them.
 *
 * Start: destinations first, so that the first event finds them; then what the previous process read but did not finish is
 * replayed; then the sources, all of which must open before any is read. Stop, in the order of the flow: sources are closed and
 * read to their end; the correlator emits what it holds, or keeps it for the next start; metrics are collected, now that
 * nothing can change them; destinations drain and are closed.
 *
 * With a store, a chunk is on the disk before anything derived from it is sent. Metrics are collected only at a checkpoint,
 * whose single transaction holds the positions, the state, the collected metrics, everything pending, and the journal without
 * the entries before it. So each metric increment is in exactly one of a collected request and the rest of the journal, and
 * each span and log record is in a checkpoint, in the rest of the journal, or answered. Collected metrics are sent only when
 * the transaction is on the disk: a crash before that would collect them again.
 */
import { type CorrelatorOptions, createCorrelator, STATE_PREFIX } from './correlate/index.js';
import type { Dialect, TranscriptIndex } from './decode/index.js';
import { createIntake, createProblemLog, DECODE_PREFIX } from './intake.js';
import type { Destination } from './model/delivery.js';
import type { AgentEvent } from './model/event.js';
import type { Logger } from './model/logger.js';
import type { Source, SourceError, SourceStatus } from './model/source.js';
import type { Measurement } from './model/telemetry.js';
import { createLedger, type SourceCondition } from './persistence/ledger.js';
import { createPersistence, sendMetrics } from './persistence/persistence.js';
import { isGateway, type SavedState } from './persistence/saved-state.js';
import { createPipeline } from './pipeline.js';
import { createReading, type OpenedSource } from './reading.js';
import { type Summary, sum, summariseDestinations } from './summary.js';
import { counted } from './util/counted.js';
import { countdown, MAX_TIMER_MS, untilAborted, within } from './util/within.js';

export interface BridgeParts {
  sources: Source[];
  destinations: Destination[];
  /** Takes every measurement, for the metric readers of the destinations; absent if there are none. */
  recordMeasurements?(measurements: Measurement[]): void;
  dialect: Dialect;
  max_line_bytes: number;
  correlator?: CorrelatorOptions;
  logger: Logger;
  now?(): number;
  /** Called for each event before it is applied: may change its times, delay it to keep a pace, or skip it (undefined). */
  beforeEvent?(event: AgentEvent): Promise<AgentEvent | undefined> | AgentEvent | undefined;
  /** Called when a batch has been applied; reading resumes when it resolves. */
  afterBatch?(bytes: number, events: number): Promise<void> | void;
  /** Called when a source has ended or been closed, or has failed. */
  onSourceEnd?(source: Source, failure: SourceError | undefined): void;
  sessionsOf?(stream: string): TranscriptIndex | undefined;
  /**
   * What the previous process left, and how to persist the state of this one. With it, runs that are open at the end stay open
   * for the next start; without it, they are closed with `shutdown`.
   */
  persist?: PersistOptions | undefined;
}

export interface PersistOptions {
  saved: SavedState;
  /** Where the store is, for messages. */
  place: string;
  /** How often a checkpoint is taken; metrics are collected with it. */
  checkpoint_interval_ms: number;
  store_limit_bytes: number;
}

export interface ComposedBridge {
  /**
   * Opens every source. Throws a `SourceError` if one can't be opened, or the abort reason of `giving_up`; the bridge is then
   * closed, with whatever had been opened.
   */
  open(giving_up?: AbortSignal): Promise<void>;
  /** Reads until every source has ended, failed or been closed. Resolves with the failures, which have been logged. */
  read(): Promise<SourceError[]>;
  /** Stops reading. */
  stopReading(): Promise<void>;
  /** Collects the metrics, and waits until everything emitted is answered, for `limit_ms` at most. */
  drain(limit_ms: number): Promise<void>;
  /**
   * Emits what is held, drains for `drain_ms` at most, and closes the destinations. Open runs are closed if they would be lost
   * with the process. `is_over`: nothing more will come, so open runs are closed, and once everything is delivered the next start
   * begins from nothing.
   */
  finish(drain_ms: number, options?: { is_over: boolean }): Promise<void>;
  /** For a process that ends at once: counts as dropped the data that is lost with it. */
  dropUnstored(): void;
  summary(): Summary;
}

const METRICS_INTERVAL_MS = 10_000;

/** By then, a source that is read again has long repeated what it gave the previous process since its last checkpoint. */
const READ_AGAIN_MS = 60_000;

/** How long reasoning tokens may still come after a source is up and has caught up. */
const BACK_AGAIN_MS = 5_000;

/** How long a drain waits for outstanding answers before it collects the metrics: a backend may be down. At most half of it. */
const LAST_ANSWERS_MS = 500;

/** How much of the end, at most half, is for sending metrics that were collected before it: a backend may be down until then. */
const LAST_METRICS_MS = 1_000;

/** A source that does not open might not close either. */
const CLOSE_LIMIT_MS = 1_000;

/** How long a failed start waits for answers to what the previous process left, which is sent as soon as it is read. */
const FAILED_START_DRAIN_MS = 1_000;

const isPending = (destination: Destination): boolean => destination.pending() > 0;

const untilIdle = (limit_ms: number, destinations: Destination[]): Promise<void> =>
  within(limit_ms, Promise.all(destinations.map((destination) => destination.idle())));

export function composeBridge(options: BridgeParts): ComposedBridge {
  const { sources, destinations, persist, logger, now = Date.now } = options;
  const saved = persist?.saved;
  const intake = createIntake(
    {
      dialect: options.dialect,
      max_line_bytes: options.max_line_bytes,
      onProblem: createProblemLog(logger),
      ...(options.sessionsOf ? { sessionsOf: options.sessionsOf } : {}),
    },
    saved?.records(DECODE_PREFIX),
  );
  const previews = destinations.some(({ takes_previews = true }) => takes_previews);
  const logs = destinations.some(({ takes_logs = true }) => takes_logs);
  const measurements = options.recordMeasurements !== undefined;
  const correlator = createCorrelator(
    { previews, logs, measurements, ...options.correlator },
    saved?.records(STATE_PREFIX),
  );
  const unusable_records =
    (saved?.unusable_records ?? 0) + intake.unusable_records + correlator.unusable_records;
  if (unusable_records > 0)
    logger.warn(`ignored ${counted(unusable_records, 'record')} of the stored state that can't be restored`);
  const started_ms = now();
  let opened: OpenedSource[] = [];
  let metricsTimer: NodeJS.Timeout | undefined;
  let restoreTimer: NodeJS.Timeout | undefined;
  /** The last reported status, by source name. */
  const conditions = new Map<string, SourceCondition>();
  /** Batches read after the end are not applied: their emissions would not be sent any more. */
  let is_finished = false;

  const persistence =
    persist === undefined
      ? undefined
      : createPersistence(persist.saved, {
          ...persist,
          destinations,
          settled: () => pipeline.settled(),
          capture: (everything) => [correlator.capture({ everything }), intake.capture({ everything })],
          ledger: (running) =>
            createLedger(summary(), { counts: intake.countsBySource(), conditions }, destinations, {
              running,
              started_ms,
              now_ms: now(),
            }),
          logger,
          now,
          clock: () => performance.now(),
        });

  const { recordMeasurements, beforeEvent, afterBatch } = options;
  const pipeline = createPipeline({
    intake,
    correlator,
    destinations,
    persistence,
    recordMeasurements,
    beforeEvent,
    afterPortion: () => afterBatch?.(0, 0),
    now,
  });

  const isAsked = (source: string): boolean => saved !== undefined && isGateway(saved.positions, source);

  function tell(name: string, { state, message }: SourceStatus): void {
    if (state === 'down') logger.warn(message);
    else logger.info(message);
    const last = conditions.get(name);
    conditions.set(name, { state, message, since_ms: last?.state === state ? last.since_ms : now() });
    persistence?.wake();
  }

  /** Logs and records a source's status. A source that can be asked for missed events may still report some when it is back. */
  function takeStatus({ name }: Source, status: SourceStatus): void {
    const { state, is_behind = false } = status;
    if (status.is_silent !== true) tell(name, status);
    // Not for files: a missing file has no reasoning tokens to add to what it gave.
    const is_back = state === 'up' && !is_behind;
    if (isAsked(name)) correlator.waitForReasoning(is_back ? now() + BACK_AGAIN_MS : Infinity);
  }

  function resume(left: SavedState): void {
    pipeline.resume(left, canBeAsked());
    // A source that is read again repeats its events itself; they are not in the journal.
    if (sources.some(({ is_rereadable }) => is_rereadable))
      restoreTimer = setTimeout(endRestore, READ_AGAIN_MS);
    else endRestore();
  }

  function endRestore(): void {
    for (const { outbox } of destinations) outbox?.endRestore();
  }

  /** Whether the next start gets from a source what could not be written: it is read or asked again, or its senders repeat it. */
  const comesAgain = ({ name, is_rereadable }: Source): boolean =>
    is_rereadable === true || isAsked(name) || name.startsWith('otlp:');

  /** Whether any source can report at the next start what it has not reported yet. */
  const canBeAsked = (): boolean => sources.some(({ name }) => isAsked(name));

  const readSource = createReading({
    take: pipeline.take,
    takeStatus,
    hasFinished: () => is_finished,
    afterBatch,
    onSourceEnd: options.onSourceEnd,
    logger,
  });

  async function drain(limit_ms: number): Promise<void> {
    const left_ms = countdown(limit_ms);
    await pipeline.settled();
    // The bridge's own metrics should include the outcome of the rest.
    await untilIdle(Math.min(limit_ms / 2, LAST_ANSWERS_MS), destinations.filter(isPending));
    await (persistence === undefined ? sendMetrics(destinations) : persistence.checkpoint());
    await untilIdle(left_ms(), destinations);
  }

  function summary(): Summary {
    const { runs_opened, runs_ended, runs_open, runs_with_gap, given_up } = correlator.counts();
    return {
      version: 1,
      source: intake.counts(),
      runs: {
        opened: runs_opened,
        ended: runs_ended,
        open: runs_open,
        ...(runs_with_gap > 0 ? { with_gap: runs_with_gap } : {}),
        ...(sum(given_up) > 0 ? { given_up } : {}),
      },
      destinations: summariseDestinations(destinations),
    };
  }

  async function openAll(): Promise<void> {
    if (saved !== undefined) {
      resume(saved);
      const { journal } = saved;
      saved.journal = { records: [], entries: [] };
      // What was just replayed need not be replayed at the next start.
      if (journal.records.length > 0) await persistence?.checkpoint();
    }
    for (const source of sources) {
      // A source opened now would never be closed.
      if (is_finished) return;
      opened.push({ source, items: await source.open() });
    }
  }

  const stopReading = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.close()));
  };

  /**
   * Whether what is open will be gone with this process: it came in while the store could not be written. If some of it comes
   * again at the next start, all of it is left as it is.
   */
  async function isOpenLost(): Promise<boolean> {
    if (persistence === undefined || persistence.isRecoverable()) return false;
    if (sources.some(comesAgain)) return false;
    // The store may be writable again.
    await persistence.flush();
    return !persistence.isRecoverable();
  }

  function stopCollecting(): void {
    clearInterval(metricsTimer);
    persistence?.stopCollecting();
  }

  async function finish(drain_ms: number, { is_over } = { is_over: persist === undefined }): Promise<void> {
    is_finished = true;
    pipeline.stop();
    clearTimeout(restoreTimer);
    opened = [];
    await pipeline.settled();
    if (is_over || (await isOpenLost())) await pipeline.close();
    else if (!canBeAsked()) pipeline.emitEnded();
    const left_ms = countdown(drain_ms);
    const collecting_ms = Math.max(drain_ms / 2, drain_ms - LAST_METRICS_MS);
    const lastMetricsTimer = setTimeout(stopCollecting, Math.min(collecting_ms, MAX_TIMER_MS));
    await drain(drain_ms);
    clearTimeout(lastMetricsTimer);
    stopCollecting();
    await persistence?.stop();
    // A checkpoint that a limit demanded may have collected metrics.
    if (destinations.some(isPending)) await untilIdle(left_ms(), destinations);
    await Promise.all(destinations.map((destination) => destination.close()));
    const is_done = is_over && !destinations.some(isPending);
    await persistence?.close({ forget: is_done });
  }

  return {
    async open(giving_up) {
      // Data of the previous process is already being sent: its answers are to be written, however long opening takes.
      persistence?.start();
      try {
        await Promise.race([openAll(), ...(giving_up === undefined ? [] : [untilAborted(giving_up)])]);
      } catch (error) {
        await within(CLOSE_LIMIT_MS, stopReading());
        // A caller that aborts has waited as long as it may take.
        await finish(giving_up?.aborted ? 0 : FAILED_START_DRAIN_MS);
        throw error;
      }
      pipeline.start();
    },
    async read() {
      if (persistence === undefined)
        metricsTimer = setInterval(() => void sendMetrics(destinations), METRICS_INTERVAL_MS);
      return (await Promise.all(opened.map(readSource))).flat();
    },
    stopReading,
    drain,
    finish,
    dropUnstored: () => persistence?.dropUnstored(),
    summary,
  };
}
