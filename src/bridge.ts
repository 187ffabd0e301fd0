/**
 * The bridge: sources → intake → correlator → destinations, composed here and nowhere else.
 *
 * Start: destinations first, so that the first event finds them; then the sources, all of which must open before any is
 * read. Stop, in the order of the flow: the sources are closed and read out; the correlator gives out what it held; the
 * metrics are collected, now that nothing can change them; the destinations drain; then they are closed.
 */
import type { Logger } from 'pino';
import { type CorrelatorOptions, type CorrelatorSnapshot, createCorrelator } from './correlate/index.js';
import type { Dialect, TranscriptIndex } from './decode/index.js';
import { createIntake, createProblemLog } from './intake.js';
import type { Destination } from './model/delivery.js';
import type { AgentEvent } from './model/event.js';
import { type LineBatch, type Source, SourceError, type SourceStatus } from './model/source.js';
import type { Emission, Measurement } from './model/telemetry.js';
import { type Summary, summariseDestinations } from './summary.js';
import { within } from './within.js';

/** Where a bridge stopped, or might have to go on. */
export interface BridgeCheckpoint {
  /** Where to go on in the streams that can be gone on with: by their source's name, then by their own. */
  positions: Record<string, Record<string, unknown>>;
  correlator: CorrelatorSnapshot;
}

export interface BridgeOptions {
  sources: Source[];
  destinations: Destination[];
  /** Takes every measurement, for the metric readers of the destinations. */
  recordMeasurements?(measurements: Measurement[]): void;
  dialect: Dialect;
  max_line_bytes: number;
  correlator?: CorrelatorOptions;
  logger: Logger;
  now?(): number;
  /** Called for each event before it is applied: may change its times, wait to keep a pace, or pass it over. */
  beforeEvent?(event: AgentEvent): Promise<AgentEvent | undefined> | AgentEvent | undefined;
  /** Called when a batch has been applied; the source is read on when it resolves. */
  afterBatch?(bytes: number, events: number): Promise<void> | void;
  sessionsOf?(stream: string): TranscriptIndex | undefined;
  metrics_interval_ms?: number;
  /** What an earlier bridge knew when it stopped. */
  restored?: BridgeCheckpoint | undefined;
  /**
   * Takes note of what the bridge knows, every few seconds and at its end, before it returns. With it, runs that are open at
   * the end stay open for the next start; without it, they are closed with `shutdown`.
   */
  saveCheckpoint?: ((checkpoint: BridgeCheckpoint) => void) | undefined;
}

export interface Bridge {
  /** Opens every source; throws a `SourceError` where one can't be opened. */
  open(): Promise<void>;
  /** Reads until every source has ended, failed or been closed. Gives those failures; the log has told them already. */
  read(): Promise<SourceError[]>;
  /** Stops reading. */
  stopReading(): Promise<void>;
  /** Gives out what is held, drains for at most this long, and closes the destinations. */
  finish(drain_ms: number): Promise<void>;
  summary(): Summary;
}

const DEFAULT_METRICS_INTERVAL_MS = 10_000;

const CHECKPOINT_INTERVAL_MS = 2_000;
/** A checkpoint that takes long is taken as rarely as makes it cost no more than 2 % of the time. */
const CHECKPOINT_SHARE = 50;

/** How long a source that is back may take to tell what is still missing of what it told. */
const BACK_AGAIN_MS = 5_000;

/** The longest that a timer is set for: what lies further off is looked at again then. */
const MAX_TIMER_MS = 60_000;

const bytesOf = (batch: LineBatch): number =>
  batch.lines.reduce((total, line) => total + ('bytes' in line ? line.bytes.length + 1 : 0), 0);

interface OpenedSource {
  name: string;
  items: Awaited<ReturnType<Source['open']>>;
}

export function createBridge(options: BridgeOptions): Bridge {
  const { sources, destinations, logger, now = Date.now } = options;
  const intake = createIntake({
    dialect: options.dialect,
    max_line_bytes: options.max_line_bytes,
    onProblem: createProblemLog(logger),
    ...(options.sessionsOf ? { sessionsOf: options.sessionsOf } : {}),
  });
  const correlator = createCorrelator(options.correlator, options.restored?.correlator);
  const positions = structuredClone(options.restored?.positions ?? {});
  let opened: OpenedSource[] = [];
  let timer: NodeJS.Timeout | undefined;
  let metricsTimer: NodeJS.Timeout | undefined;
  let next_checkpoint_ms = 0;

  function deliver(emission: Emission): void {
    options.recordMeasurements?.(emission.measurements);
    for (const destination of destinations) destination.accept(emission);
  }

  /** Wakes the correlator when something in it is due. A timer that comes late or early does no harm. */
  function armTimer(): void {
    clearTimeout(timer);
    const due_ms = correlator.nextDeadline();
    if (due_ms === undefined) return;
    timer = setTimeout(expire, Math.min(Math.max(0, due_ms - now()), MAX_TIMER_MS));
  }

  function expire(): void {
    deliver(correlator.expire(now()));
    armTimer();
  }

  async function collectMetrics(): Promise<void> {
    await Promise.all(destinations.map((destination) => destination.collectMetrics()));
  }

  /** Waits with the timer set: what is due meanwhile does not wait for the next event. */
  function armed<T>(wanted: Promise<T>): Promise<T> {
    armTimer();
    return wanted;
  }

  function checkpoint(): void {
    const began_ms = now();
    options.saveCheckpoint?.({ positions, correlator: correlator.recent() });
    next_checkpoint_ms = now() + Math.max(CHECKPOINT_INTERVAL_MS, (now() - began_ms) * CHECKPOINT_SHARE);
  }

  async function applyEvents(events: AgentEvent[]): Promise<void> {
    for (const event of events) {
      const shaped = options.beforeEvent === undefined ? event : options.beforeEvent(event);
      const wanted = shaped instanceof Promise ? await armed(shaped) : shaped;
      if (wanted !== undefined) deliver(correlator.apply(wanted, now()));
    }
  }

  function notePosition(source: string, { stream, end, position }: LineBatch): void {
    const streams = positions[source] ?? {};
    positions[source] = streams;
    if (end) delete streams[stream];
    else if (position !== undefined) streams[stream] = position;
  }

  async function takeBatch(source: string, batch: LineBatch): Promise<void> {
    const events = intake.take(batch);
    await applyEvents(events);
    armTimer();
    notePosition(source, batch);
    if (options.saveCheckpoint !== undefined && now() >= next_checkpoint_ms) checkpoint();
    await options.afterBatch?.(bytesOf(batch), events.length);
  }

  /** A source that can be asked for what it told before may have more to tell of it when it is back. */
  function takeStatus(source: string, { state, message }: SourceStatus): void {
    if (state === 'down') logger.warn(message);
    else logger.info(message);
    // The gateway's one stream has its source's name; a file that is missing has no more to tell of what it told.
    if (positions[source]?.[source] !== undefined)
      correlator.waitForReasoning(state === 'down' ? Infinity : now() + BACK_AGAIN_MS);
  }

  async function readItems({ name, items }: OpenedSource): Promise<void> {
    for await (const item of items) {
      if (item.kind === 'lines') await takeBatch(name, item);
      else takeStatus(name, item);
    }
  }

  async function closeCorrelator(): Promise<void> {
    for (const portion of inPortions(correlator.close(now()))) {
      deliver(portion);
      await options.afterBatch?.(0, 0);
    }
  }

  /** A source that fails takes nothing with it: what was read of it goes its way, and the others are read on. */
  async function readSource(source: OpenedSource): Promise<SourceError[]> {
    try {
      await readItems(source);
      return [];
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      logger.error(error.message);
      return [error];
    }
  }

  return {
    async open() {
      for (const source of sources) opened.push({ name: source.name, items: await source.open() });
    },
    async read() {
      metricsTimer = setInterval(
        () => void collectMetrics(),
        options.metrics_interval_ms ?? DEFAULT_METRICS_INTERVAL_MS,
      );
      return (await Promise.all(opened.map(readSource))).flat();
    },
    async stopReading() {
      await Promise.all(sources.map((source) => source.close()));
    },
    async finish(drain_ms) {
      const goes_on = options.saveCheckpoint !== undefined;
      if (!goes_on) await applyEvents(intake.end());
      clearTimeout(timer);
      clearInterval(metricsTimer);
      opened = [];
      if (goes_on) checkpoint();
      else await closeCorrelator();
      await collectMetrics();
      await within(drain_ms, Promise.all(destinations.map((destination) => destination.idle())));
      await Promise.all(destinations.map((destination) => destination.close()));
    },
    summary() {
      const { runs_opened, runs_ended, runs_open, runs_with_gap } = correlator.counts();
      return {
        version: 1,
        source: intake.counts(),
        runs: {
          opened: runs_opened,
          ended: runs_ended,
          open: runs_open,
          ...(runs_with_gap > 0 ? { with_gap: runs_with_gap } : {}),
        },
        destinations: summariseDestinations(destinations),
      };
    },
  };
}

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
