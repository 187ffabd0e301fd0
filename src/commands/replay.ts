/**
 * `replay FILE…`: reads recordings to their end, exports them and waits for every acknowledgement. Files can be read again, so
 * they are read no faster than the destinations take the results.
 */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { composeBridge, type PersistOptions } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import { SourceError } from '../model/source.js';
import { forget } from '../persistence/saved-state.js';
import { checkRecordings, createRecordingsSource, recordingsName } from '../source/index.js';
import { createThrottle } from '../start/backlog.js';
import { chooseDestinations, type OpenedDestinations, openChosen } from '../start/destinations.js';
import { CONTINUING_IN_MEMORY, openOwnStore } from '../start/open-store.js';
import { bridgeParts } from '../start/parts.js';
import type { Settings } from '../start/settings.js';
import type { Summary } from '../summary.js';
import { takesEscapes } from '../terminal/escapes.js';
import { createProgress, type Progress } from '../terminal/progress.js';
import { instanceIdOf } from '../util/instance-id.js';
import { BYTES_PER_MB } from '../util/units.js';
import { keepHeapSmall } from './heap.js';
import { logStopping, type OnInterrupt } from './interrupt.js';
import { abandon, conclude, failed, misused, type Outcome, summaryProblem } from './outcome.js';
import { createPace, type Pace } from './pace.js';
import { findShift } from './rebase.js';

/** The pace of the replay; undefined if the recording's times do not matter to it. */
async function paceOf(
  files: string[],
  settings: Settings,
  signal: AbortSignal,
  persist: PersistOptions | undefined,
): Promise<Pace | undefined> {
  const { speed, rebase_time } = settings;
  if (speed === undefined && !rebase_time) return undefined;
  const by_ms = rebase_time ? await findShift(files, settings, persist?.saved, signal) : 0;
  return createPace({ speed, by_ms, now: Date.now, signal });
}

const totalBytes = (files: string[]): number =>
  files.reduce((total, file) => total + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);

/** Only on a terminal, and not beside a tree, which would compete with the bar for the screen. */
const openProgress = (files: string[], is_drawing: boolean): Progress | undefined =>
  is_drawing || !takesEscapes(process.stderr, process.env)
    ? undefined
    : createProgress({ stream: process.stderr, total_bytes: totalBytes(files) });

function countProgress(progress: Progress | undefined): (bytes: number, events: number) => void {
  let read_bytes = 0;
  let read_events = 0;
  return (bytes, events) => {
    read_bytes += bytes;
    read_events += events;
    progress?.update(read_bytes, read_events);
  };
}

/**
 * Resumes an earlier replay of the same recordings; discards the state of others. Undefined if that can't be discarded: it must
 * not become a part of this replay, which continues in memory.
 */
async function forThese(
  files: string[],
  persist: PersistOptions,
  logger: Logger,
): Promise<PersistOptions | undefined> {
  const others = Object.keys(persist.saved.positions).filter((name) => name !== recordingsName(files));
  if (others.length === 0) return persist;
  const earlier = `the unfinished replay of ${others.join(', ')}`;
  const saved = await forget(persist.saved);
  if ('problem' in saved) {
    logger.warn(`can't discard ${earlier} in ${persist.place}: ${saved.problem}; ${CONTINUING_IN_MEMORY}`);
    return undefined;
  }
  logger.warn(`discarding ${earlier}, since other files are given; its pending data is still sent`);
  return { ...persist, saved };
}

/** Plays recordings to destinations that are already open. */
export async function play(
  files: string[],
  settings: Settings,
  logger: Logger,
  opened: OpenedDestinations,
  onInterrupt: OnInterrupt,
  persist?: PersistOptions,
): Promise<{ summary: Summary; failures: SourceError[] }> {
  const interrupt = new AbortController();
  const deadline_ms = settings.deadline * 1000;
  onInterrupt(() => interrupt.abort());
  const pace = await paceOf(files, settings, interrupt.signal, persist);
  const progress = openProgress(files, opened.is_drawing);
  const count = countProgress(progress);
  const catchUp = createThrottle(opened.destinations, {
    deadline_ms,
    signal: interrupt.signal,
    store_limit_bytes: settings.limits.store_mb * BYTES_PER_MB,
  });
  const bridge = composeBridge({
    ...bridgeParts(settings, opened, logger),
    persist,
    sources: [
      createRecordingsSource(files, {
        max_line_bytes: settings.limits.line_bytes,
        one_by_one: settings.speed !== undefined,
        resume: persist?.saved.positions[recordingsName(files)] ?? {},
      }),
    ],
    ...(pace ? { beforeEvent: pace } : {}),
    afterBatch(bytes, events) {
      count(bytes, events);
      return catchUp();
    },
  });
  opened.attach(bridge);
  await bridge.open();
  onInterrupt(
    () => {
      logStopping(logger, settings.deadline);
      interrupt.abort();
      void bridge.stopReading();
    },
    () => abandon(bridge, settings, logger),
  );
  const failures = await bridge.read();
  await bridge.finish(deadline_ms, { is_over: persist === undefined || !interrupt.signal.aborted });
  progress?.stop();
  return { summary: bridge.summary(), failures };
}

export async function replay(
  files: string[],
  settings: Settings,
  logger: Logger,
  onInterrupt: OnInterrupt,
): Promise<Outcome> {
  const problem = summaryProblem(settings.summary);
  if (problem !== undefined) return failed(problem);
  // A mistyped recording or destination must not discard an earlier replay, nor send anything of it.
  const missing = await checkRecordings(files);
  if (missing !== undefined) return failed(missing);
  const chosen = await chooseDestinations(settings);
  if ('error' in chosen) return misused(chosen.error);
  keepHeapSmall();
  // Stored only on request: a recording can be played again.
  const directory = settings.no_store ? undefined : settings.data_dir;
  const store = await openOwnStore('replay', directory, settings, logger);
  if ('error' in store) return failed(store.error);
  try {
    const persist = store.persist && (await forThese(files, store.persist, logger));
    const instance_id = instanceIdOf(recordingsName(files.map((file) => resolve(file))));
    const opened = openChosen(chosen, settings, logger, persist?.saved.deliveries, instance_id);
    if ('error' in opened) return misused(opened.error);
    return conclude(await play(files, settings, logger, opened, onInterrupt, persist), settings, logger);
  } catch (error) {
    if (error instanceof SourceError) return failed(error.message);
    throw error;
  } finally {
    await store.close();
  }
}
