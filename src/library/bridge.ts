/**
 * The library's bridge: the sources, destinations and store of the program's commands, used from within another program. It
 * never ends the process, handles no signals and prints nothing; messages go to the given logger. A bridge is started once and
 * stopped once.
 */
import { context } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import type { ComposedBridge } from '../bridge.js';
import type { WireEvent } from '../model/event.js';
import type { Logger } from '../model/logger.js';
import type { SourceError } from '../model/source.js';
import { createPushedSource, type PushOutcome } from '../source/index.js';
import { type Summary, sum } from '../summary.js';
import { attempt } from '../util/callback.js';
import { countdown, within } from '../util/within.js';
import { type BridgeOptions, type MessageLogger, readOptions } from './options.js';
import { closeRunning, createEnds, openRunning, type Running } from './running.js';

/** A bridge inside a program, from `start` to `stop`. */
export interface Bridge {
  /**
   * Opens the store, the destinations and every source, and begins to read; resolves when all of them are open. Rejects with a
   * `ConfigurationError` if `data_dir` or a destination can't be used, and with a `SourceError` if a source can't be opened. A
   * second call returns the same promise; after `stop` it rejects.
   */
  start(): Promise<void>;
  /**
   * Pushes an event of the catalog. Resolves when it has been applied or refused; never rejects. An event that does not match
   * the catalog is taken, and counted under `source.rejected`. Await each push to keep to the bridge's pace: up to 16 MiB may
   * wait, and events beyond that are refused.
   */
  push(event: WireEvent): Promise<PushOutcome>;
  /** Resolves when every source of the options has ended, failed or been closed, with the failures, which have been logged. */
  ended(): Promise<SourceError[]>;
  /**
   * Collects the metrics and sends what has been read so far, for at most `timeout_ms`; flushes processors and readers. True if
   * nothing is pending any more. What waits in the correlator for later events is not emitted.
   */
  drain(timeout_ms: number): Promise<boolean>;
  /**
   * Stops reading, closes open runs with `shutdown` (with `data_dir` they stay open for the next start), drains for at most
   * `timeout_ms`, 10 s by default, and shuts everything down, for which processors and readers get 1 s more. Resolves with the
   * final counters. A second call returns the same promise; before `start` there is nothing to stop.
   */
  stop(timeout_ms?: number): Promise<Summary>;
  /** The counts so far; available at any time. */
  counters(): Summary;
}

const DEFAULT_STOP_TIMEOUT_MS = 10_000;

const NOTHING_YET: Summary = {
  version: 1,
  source: { lines: 0, events: 0, ignored: {}, rejected: {} },
  runs: { opened: 0, ended: 0, open: 0 },
  destinations: {},
};

const REFUSED: Readonly<Record<Exclude<PushOutcome, 'taken'>, string>> = {
  queue_full: 'events are pushed faster than they are processed, and are refused; await each push',
  not_running:
    'events are pushed while the bridge is not running, and are refused; push only between start and stop',
  invalid_json:
    "a pushed event can't be written as JSON, and is refused; push plain data, without cycles or BigInts",
};

/** Passes on messages without the fields, which are for machines. Errors of the program's logger are ignored. */
function toLogger(logger: MessageLogger | undefined): Logger {
  const logAt =
    (level: keyof MessageLogger) =>
    (fields: Record<string, unknown> | string, message?: string): void => {
      // There is nowhere else to report an error.
      attempt(
        () => logger?.[level](message ?? String(fields)),
        () => undefined,
      );
    };
  return { info: logAt('info'), warn: logAt('warn'), error: logAt('error') };
}

/** Adds the refused events, which are lines like any other but counted elsewhere. */
function withRefused(summary: Summary, refused: Record<string, number>): Summary {
  const { source } = summary;
  const rejected = { ...source.rejected };
  for (const [reason, count] of Object.entries(refused)) rejected[reason] = (rejected[reason] ?? 0) + count;
  return { ...summary, source: { ...source, lines: source.lines + sum(refused), rejected } };
}

/** Logs each reason once; all refusals are counted. */
function createRefusalLog(logger: Logger): (outcome: PushOutcome) => void {
  const reported = new Set<PushOutcome>(['taken']);
  return (outcome) => {
    if (outcome === 'taken' || reported.has(outcome)) return;
    reported.add(outcome);
    logger.warn(REFUSED[outcome]);
  };
}

const isDelivered = ({ destinations }: Summary): boolean =>
  Object.values(destinations)
    .flatMap((signals) => Object.values(signals))
    .every(({ pending }) => pending === 0);

/** The time to a deadline that has passed is negative, and Node.js would print a warning about it; no number is no time either. */
const leftOf = (timeout_ms: number): number => Math.max(timeout_ms || 0, 0);

/** Excludes the bridge's own requests from the tracing of the embedding program. */
const untraced = <T>(act: () => T): T => context.with(suppressTracing(context.active()), act);

/** Creates a bridge without opening anything. Throws a `ConfigurationError` if an option is wrong. */
export function createBridge(options: BridgeOptions): Bridge {
  const plan = readOptions(options);
  const logger = toLogger(plan.logger);
  const pushed = createPushedSource(plan.settings.limits.line_bytes);
  const logRefusal = createRefusalLog(logger);
  const ends = createEnds();
  const interrupt = new AbortController();
  const giving_up = new AbortController();
  let composed: ComposedBridge | undefined;
  let starting: Promise<Running> | undefined;
  let stopping: Promise<Summary> | undefined;

  const counters = (): Summary => withRefused(composed?.summary() ?? NOTHING_YET, pushed.refused());

  const open = (): Promise<Running> =>
    openRunning(
      { plan, logger, pushed, counters, ends, stopping: interrupt.signal, giving_up: giving_up.signal },
      (opened) => {
        composed = opened;
      },
    );

  /** The running bridge, once it has started; waits for that for `limit_ms` at most. */
  async function started(limit_ms: number): Promise<Running | undefined> {
    let running: Running | undefined;
    const opened = starting?.then((each) => {
      running = each;
    });
    await within(limit_ms, Promise.resolve(opened?.catch(() => undefined)));
    return running;
  }

  async function stop(timeout_ms: number): Promise<Summary> {
    const left_ms = countdown(timeout_ms);
    interrupt.abort();
    await started(timeout_ms);
    giving_up.abort(new Error('this bridge was stopped before its sources were open'));
    const running = await starting?.catch(() => undefined);
    if (running !== undefined) await closeRunning(running, left_ms());
    ends.close();
    return counters();
  }

  async function drain(timeout_ms: number): Promise<boolean> {
    const left_ms = countdown(timeout_ms);
    const running = await started(timeout_ms);
    let is_applied = false;
    const applied = pushed.applied().then(() => {
      is_applied = true;
    });
    await within(left_ms(), applied);
    if (stopping !== undefined) await within(left_ms(), stopping);
    else await running?.composed.drain(left_ms());
    return is_applied && isDelivered(counters());
  }

  return {
    async start() {
      if (stopping !== undefined) throw new Error('this bridge has been stopped; create another one');
      starting ??= untraced(open);
      await starting;
    },
    async push(event) {
      const outcome = await pushed.push(event);
      logRefusal(outcome);
      return outcome;
    },
    ended: () => ends.ended,
    drain: (timeout_ms) => untraced(() => drain(leftOf(timeout_ms))),
    stop(timeout_ms = DEFAULT_STOP_TIMEOUT_MS) {
      stopping ??= untraced(() => stop(leftOf(timeout_ms)));
      return stopping;
    },
    counters,
  };
}
