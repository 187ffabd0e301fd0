/**
 * A running bridge of the library: opened from its plan with the parts that the program's commands use, and closed within a
 * time limit. If opening fails, what was already open is closed again.
 */
import { type ComposedBridge, composeBridge } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import type { Source, SourceError } from '../model/source.js';
import { createRecordingsSource, type PushedSource } from '../source/index.js';
import { createHold, createThrottle, holdFiles, paced } from '../start/backlog.js';
import { openConfigured } from '../start/destinations.js';
import { IN_MEMORY, type OpenedStore, openStoreIn } from '../start/open-store.js';
import { bridgeParts } from '../start/parts.js';
import { makeSources } from '../start/sources.js';
import type { Summary } from '../summary.js';
import { BYTES_PER_MB } from '../util/units.js';
import { countdown, within } from '../util/within.js';
import { wrong } from './configuration-error.js';
import type { BridgePlan } from './options.js';
import { guardSource } from './sources.js';

export interface Running {
  composed: ComposedBridge;
  store: OpenedStore;
  /** Resolves when every source has ended or been closed; rejects for bugs only. */
  reading: Promise<unknown>;
}

/** The parts of a bridge before it runs. */
export interface Prepared {
  plan: BridgePlan;
  logger: Logger;
  pushed: PushedSource;
  /** The counts that the bridge's own metrics report. */
  counters(): Summary;
  ends: Ends;
  /** Aborts when the bridge is told to stop. */
  stopping: AbortSignal;
  /** Aborts when the bridge is stopped and its time is over before all sources are open. */
  giving_up: AbortSignal;
}

/** A destination that answers nothing for this long no longer delays the reading of recordings. */
const STALLED_MS = 60_000;

/** Creates the sources of the options without opening them. */
function createSources(
  { sources, settings }: BridgePlan,
  { persist }: OpenedStore,
  catchUp: () => Promise<void>,
  logger: Logger,
): { wanted: Source[]; others: Source[] } {
  const positions = persist?.saved.positions ?? {};
  const wanted = sources.flatMap((source) => ('wanted' in source ? source.wanted : []));
  const max_line_bytes = settings.limits.line_bytes;
  const others = sources.flatMap((source): Source[] => {
    if ('own' in source) return [guardSource(source.own, logger)];
    if (!('paths' in source)) return [];
    const resume = positions[source.name] ?? {};
    const recordings = createRecordingsSource(source.paths, { max_line_bytes, one_by_one: false, resume });
    return [paced(recordings, catchUp)];
  });
  return { wanted: makeSources(wanted, settings, { positions }), others };
}

function openStore({ settings }: BridgePlan, logger: Logger): OpenedStore {
  if (settings.data_dir === undefined) return IN_MEMORY;
  const store = openStoreIn('run', settings.data_dir, settings, logger);
  if ('problem' in store) {
    const advice = store.is_taken ? '' : '; use a directory that this user can write to';
    throw wrong('data_dir', `${store.problem}${advice}`);
  }
  return store;
}

function openDestinations(
  { configs, processors, settings }: BridgePlan,
  { persist }: OpenedStore,
  logger: Logger,
) {
  const { memory_mb } = settings.limits;
  const opened = openConfigured(configs, { logger, memory_mb, saved: persist?.saved.deliveries, processors });
  if ('error' in opened) throw wrong('destinations', opened.error);
  return opened;
}

function compose(store: OpenedStore, prepared: Prepared): ComposedBridge {
  const { plan, logger, pushed, counters, ends, stopping } = prepared;
  const opened = openDestinations(plan, store, logger);
  opened.attach({ summary: counters });
  const { destinations } = opened;
  const store_limit_bytes = plan.settings.limits.store_mb * BYTES_PER_MB;
  const hasStopped = (): boolean => stopping.aborted;
  const catchUp = createThrottle(destinations, {
    deadline_ms: STALLED_MS,
    signal: stopping,
    store_limit_bytes,
  });
  const { wanted, others } = createSources(plan, store, catchUp, logger);
  const sources = [...holdFiles(wanted, destinations, { store_limit_bytes, hasStopped }), ...others];
  ends.expect(sources);
  const parts = bridgeParts(plan.settings, opened, logger);
  return composeBridge({
    ...parts,
    correlator: { ...parts.correlator, limits: plan.correlator_limits },
    persist: store.persist,
    sources: [...sources, pushed],
    afterBatch: createHold(destinations, { is_persisted: store.persist !== undefined, hasStopped }),
    onSourceEnd: ends.onSourceEnd,
  });
}

/** `onComposed` gets the bridge before its sources are opened, for its counts. */
export async function openRunning(
  prepared: Prepared,
  onComposed: (composed: ComposedBridge) => void,
): Promise<Running> {
  const store = openStore(prepared.plan, prepared.logger);
  try {
    const composed = compose(store, prepared);
    onComposed(composed);
    await composed.open(prepared.giving_up);
    const reading = composed.read();
    // A bug in reading is reported by `stop`; until then nobody may wait for an end that never comes.
    reading.catch(prepared.ends.close);
    return { composed, store, reading };
  } catch (error) {
    prepared.ends.close();
    await store.close();
    throw error;
  }
}

/** The share of the time for sources that do not end when they are closed; the rest is for sending what was read. */
const READING_SHARE = 0.5;

/** Lines that still wait to be read when the time is over are refused within a turn of the event loop. */
const REFUSAL_MS = 100;

export async function closeRunning({ composed, store, reading }: Running, timeout_ms: number): Promise<void> {
  const left_ms = countdown(timeout_ms);
  try {
    await within(timeout_ms * READING_SHARE, Promise.all([composed.stopReading(), reading]));
  } finally {
    await composed.finish(left_ms());
    await within(
      REFUSAL_MS,
      reading.catch(() => undefined),
    );
    await store.close();
  }
}

/** When the sources of the options have ended, and with which failures. */
export type Ends = ReturnType<typeof createEnds>;

export function createEnds() {
  const failures: SourceError[] = [];
  const open = new Set<Source>();
  let resolve: (failures: SourceError[]) => void = () => undefined;
  const ended = new Promise<SourceError[]>((settle) => {
    resolve = settle;
  });
  return {
    ended,
    expect(sources: Source[]): void {
      for (const source of sources) open.add(source);
      if (open.size === 0) resolve(failures);
    },
    onSourceEnd(source: Source, failure: SourceError | undefined): void {
      if (!open.delete(source)) return;
      if (failure !== undefined) failures.push(failure);
      if (open.size === 0) resolve(failures);
    },
    /** Ends the wait: nothing more is read, even from sources that have not ended. */
    close: () => resolve(failures),
  };
}
