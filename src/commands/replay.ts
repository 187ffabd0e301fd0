/**
 * `replay FILE…`: reads recordings to their end, exports them and waits for every acknowledgement. A file can be read again,
 * so it is read no faster than the destinations take what comes of it.
 */
import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import { createBridge } from '../bridge.js';
import { SourceError } from '../model/source.js';
import type { Settings } from '../settings.js';
import { createRecordingsSource } from '../source/index.js';
import type { Summary } from '../summary.js';
import { createProgress, type Progress } from '../terminal/progress.js';
import { createThrottle } from './backlog.js';
import { bridgeOptions, type OnInterrupt, sayStopping } from './bridge-options.js';
import { type OpenedDestinations, openDestinations } from './destinations.js';
import { conclude, failed, misused, type Outcome, summaryProblem } from './outcome.js';
import { createPace, NO_SPAN, type Pace, type Span, widen } from './pace.js';
import { readThrough } from './read-through.js';

async function spanOf(files: string[], { dialect, limits }: Settings): Promise<Span> {
  let span = NO_SPAN;
  await readThrough(files, {
    dialect,
    max_line_bytes: limits.line_bytes,
    onEvents: (events) => {
      span = widen(span, events);
    },
  });
  return span;
}

/** Whether the recording's times matter to how it is read; if so, they must be known before. */
async function paceOf(files: string[], settings: Settings, signal: AbortSignal): Promise<Pace | undefined> {
  const { speed, rebase_time } = settings;
  if (speed === undefined && !rebase_time) return undefined;
  return createPace(await spanOf(files, settings), { speed, rebase: rebase_time, now: Date.now, signal });
}

const totalBytes = (files: string[]): number =>
  files.reduce((total, file) => total + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);

/** A bar would fight with a tree for the screen. */
const openProgress = (files: string[], is_drawing: boolean): Progress | undefined =>
  is_drawing ? undefined : createProgress({ stream: process.stderr, total_bytes: totalBytes(files) });

function countProgress(progress: Progress | undefined): (bytes: number, events: number) => void {
  let read_bytes = 0;
  let read_events = 0;
  return (bytes, events) => {
    read_bytes += bytes;
    read_events += events;
    progress?.update(read_bytes, read_events);
  };
}

/** Plays recordings to destinations that are open already. */
export async function play(
  files: string[],
  settings: Settings,
  logger: Logger,
  opened: OpenedDestinations,
  onInterrupt: OnInterrupt,
): Promise<{ summary: Summary; failures: SourceError[] }> {
  const interrupt = new AbortController();
  const deadline_ms = settings.deadline * 1000;
  const pace = await paceOf(files, settings, interrupt.signal);
  const progress = openProgress(files, opened.is_drawing);
  const count = countProgress(progress);
  const catchUp = createThrottle(opened.destinations, deadline_ms, interrupt.signal);
  const bridge = createBridge({
    ...bridgeOptions(settings, opened, logger),
    sources: [
      createRecordingsSource(files, {
        max_line_bytes: settings.limits.line_bytes,
        one_by_one: settings.speed !== undefined,
        resume: {},
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
  onInterrupt(() => {
    sayStopping(logger, settings.deadline);
    interrupt.abort();
    void bridge.stopReading();
  });
  const failures = await bridge.read();
  await bridge.finish(deadline_ms);
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
  const opened = await openDestinations(settings, logger);
  if ('error' in opened) return misused(opened.error);
  try {
    return conclude(await play(files, settings, logger, opened, onInterrupt), settings, logger);
  } catch (error) {
    if (error instanceof SourceError) return failed(error.message);
    throw error;
  }
}
