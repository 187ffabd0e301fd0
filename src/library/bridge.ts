/**
 * The library's bridge: the sources, destinations and store that the program's commands open, in the hands of another
 * program. It ends no process, hears no signal and prints nothing; what it has to say it says to the logger that it is given.
 * A bridge is started once, and stopped once.
 */
import { context } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import type { ComposedBridge } from '../bridge.js';
import type { WireEvent } from '../model/event.js';
import type { Logger } from '../model/logger.js';
import type { SourceError } from '../model/source.js';
import { createPushedSource, type PushOutcome } from '../source/index.js';
import { type Summary, sum } from '../summary.js';
import { countdown, within } from '../util/within.js';
import { type BridgeOptions, type MessageLogger, readOptions } from './options.js';
import { closeRunning, createEnds, openRunning, type Running } from './running.js';

/** A bridge inside a program: it begins with `start`, and ends with `stop`. */
export interface Bridge {
  /**
   * Opens the store, the destinations and every source, and begins to read; resolves when all of them are open. Rejects with
   * a `ConfigurationError` where `data_dir` or a destination can't be used, and with a `SourceError` where a source can't be
   * opened. A second call gives the same promise; after `stop` it rejects.
   */
  start(): Promise<void>;
  /**
   * Hands over an event of the catalog. Resolves when it has been applied, or refused; never rejects. An event that is not
   * as the catalog has it is taken, and counted under `source.rejected`. Await each to be held to the bridge's pace: 16 MiB
   * may wait, and what comes then is refused.
   */
  push(event: WireEvent): Promise<PushOutcome>;
  /** Resolves when every source of the options has ended, failed or been closed, with the failures; the log told them. */
  ended(): Promise<SourceError[]>;
  /**
   * Collects the metrics and sends what has been read up to now, for at most this long; flushes processors and readers. True
   * when nothing is pending any more. What waits in the correlator for something to come is not given out.
   */
  drain(timeout_ms: number): Promise<boolean>;
  /**
   * Stops reading, closes open runs with `shutdown` (with `data_dir` they stay open for the next start), drains for at most
   * this long, 10 s by default, and shuts everything down, for which processors and readers get 1 s more. Resolves with the
   * last counters. A second call gives the same promise; before `start` there is nothing to stop.
   */
  stop(timeout_ms?: number): Promise<Summary>;
  /** What has been done up to now; at any moment. */
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
  queue_full: 'events are pushed faster than they are taken, and refused; await each push',
  not_running: 'events are pushed while the bridge is not running, and refused; start it first, stop it last',
  invalid_json: 'an event that can not be written as JSON was pushed, and refused',
};

/** Whole messages: what is only for machines is left out. What the program's logger throws stops nothing. */
function toLogger(logger: MessageLogger | undefined): Logger {
  const say =
    (level: keyof MessageLogger) =>
    (fields: Record<string, unknown> | string, message?: string): void => {
      try {
        logger?.[level](message ?? String(fields));
      } catch {
        // There is nobody else to tell.
      }
    };
  return { info: say('info'), warn: say('warn'), error: say('error') };
}

/** What was refused was a line like any other, but for where it was counted. */
function withRefused(summary: Summary, refused: Record<string, number>): Summary {
  const { source } = summary;
  const rejected = { ...source.rejected };
  for (const [reason, count] of Object.entries(refused)) rejected[reason] = (rejected[reason] ?? 0) + count;
  return { ...summary, source: { ...source, lines: source.lines + sum(refused), rejected } };
}

/** Says each reason once; all of them are counted. */
function createRefusalLog(logger: Logger): (outcome: PushOutcome) => void {
  const said = new Set<PushOutcome>(['taken']);
  return (outcome) => {
    if (outcome === 'taken' || said.has(outcome)) return;
    said.add(outcome);
    logger.warn(REFUSED[outcome]);
  };
}

const isDelivered = ({ destinations }: Summary): boolean =>
  Object.values(destinations)
    .flatMap((signals) => Object.values(signals))
    .every(({ pending }) => pending === 0);

/** What the bridge sends is no part of what the program around it traces. */
const untraced = <T>(act: () => T): T => context.with(suppressTracing(context.active()), act);

/** Makes a bridge; nothing is opened yet. Throws a `ConfigurationError` where an option is wrong. */
export function createBridge(options: BridgeOptions): Bridge {
  const plan = readOptions(options);
  const logger = toLogger(plan.logger);
  const pushed = createPushedSource(plan.settings.limits.line_bytes);
  const tellRefusal = createRefusalLog(logger);
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

  /** What runs once the start is over, which is waited for no longer than this. */
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
      tellRefusal(outcome);
      return outcome;
    },
    ended: () => ends.ended,
    drain: (timeout_ms) => untraced(() => drain(timeout_ms)),
    stop(timeout_ms = DEFAULT_STOP_TIMEOUT_MS) {
      stopping ??= untraced(() => stop(timeout_ms));
      return stopping;
    },
    counters,
  };
}
