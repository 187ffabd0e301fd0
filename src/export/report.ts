/**
 * Says in the log what becomes of a destination: that its backend is down and that it is back, once each, and what was lost,
 * once for each reason and then at a slow rate. No header's value gets into a message, also where a backend repeats it.
 */

import { SIGNALS, type Signal } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { DestinationConfig } from './config.js';
import type { LaneEvent } from './lane.js';

export interface ReporterOptions {
  logger: Logger;
  memory_limit_bytes: number;
  /** What is pending outlives the process. */
  is_kept: boolean;
  /** Milliseconds of a clock that only goes forward. */
  now: () => number;
}

type ReportedEvent = Exclude<LaneEvent, { kind: 'answered' }>;

/** How long the same thing is not said again. */
export const REPEAT_AFTER_MS = 60_000;

const BYTES_PER_MB = 1024 * 1024;

/** What is shown of what a backend says. */
const MAX_MESSAGE_LENGTH = 200;

/** Shorter values are no secrets, and would be found everywhere. */
const SHORTEST_SECRET = 6;

export function createReporter(
  config: DestinationConfig,
  options: ReporterOptions,
): (signal: Signal, event: ReportedEvent) => void {
  const redact = createRedactor(config);
  const sayHealth = createHealth(config, options, redact);
  const sayLoss = createLossLog(config, options, redact);
  return (signal, event) => {
    if (event.kind === 'lost') sayLoss(signal, event);
    else sayHealth(signal, event);
  };
}

/** Blots out the values of the destination's headers, and the token after `Bearer`; then cuts, so that no part of one stays. */
export function createRedactor({
  endpoints,
}: Pick<DestinationConfig, 'endpoints'>): (text: string) => string {
  const values = SIGNALS.flatMap((signal) => Object.values(endpoints[signal]?.headers ?? {}));
  const secrets = values
    .flatMap((value) => [value, ...value.split(/\s+/)])
    .filter((value) => value.length >= SHORTEST_SECRET && value.toLowerCase() !== 'bearer');
  return (text) => {
    const redacted = secrets.reduce((left, secret) => left.replaceAll(secret, '[redacted]'), text);
    return redacted.slice(0, MAX_MESSAGE_LENGTH).toWellFormed();
  };
}

/** A backend is down as long as any of its lanes is. */
function createHealth(
  { name, endpoints }: DestinationConfig,
  { logger, memory_limit_bytes, is_kept, now }: ReporterOptions,
  redact: (text: string) => string,
): (signal: Signal, event: Exclude<ReportedEvent, { kind: 'lost' }>) => void {
  const down = new Set<Signal>();
  let said = false;
  let say_again_ms = Number.NEGATIVE_INFINITY;
  const place = is_kept
    ? 'on the disk'
    : `in memory, up to ${Math.round(memory_limit_bytes / BYTES_PER_MB)} MB,`;
  return (signal, event) => {
    if (event.kind === 'up') {
      if (!down.delete(signal) || down.size > 0 || !said) return;
      said = false;
      logger.info({ destination: name }, `${name} takes data again`);
      return;
    }
    down.add(signal);
    if (said || now() < say_again_ms) return;
    said = true;
    say_again_ms = now() + REPEAT_AFTER_MS;
    const url = endpoints[signal]?.url;
    logger.warn(
      { destination: name, signal, url },
      `${name} does not take data at ${url} (${redact(event.message)}): data is kept ${place} and sent again until it is taken`,
    );
  };
}

export type LossEvent = Extract<ReportedEvent, { kind: 'lost' }>;

export function createLossLog(
  { name }: Pick<DestinationConfig, 'name'>,
  { logger, now }: Pick<ReporterOptions, 'logger' | 'now'>,
  redact: (text: string) => string,
): (signal: Signal, event: LossEvent) => void {
  const unsaid = new Map<string, { count: number; say_again_ms: number }>();
  return (signal, { fate, reason, count, message }) => {
    const key = `${signal} ${fate} ${reason}`;
    const losses = unsaid.get(key) ?? { count: 0, say_again_ms: Number.NEGATIVE_INFINITY };
    losses.count += count;
    unsaid.set(key, losses);
    if (now() < losses.say_again_ms) return;
    logger.error(
      { destination: name, signal, reason, count: losses.count },
      `${name}: ${losses.count} of ${signal} ${fate} for good (${reason}): ${redact(message)}`,
    );
    losses.count = 0;
    losses.say_again_ms = now() + REPEAT_AFTER_MS;
  };
}
