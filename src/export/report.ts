/**
 * Logs the state of a destination: that its backend is down and why, that it is back, and what was lost. Each is logged once,
 * and again at most once a minute if the reason changes or more is lost. No header value gets into a message, even if a backend
 * repeats it.
 */

import type { Signal } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import { counted } from '../util/counted.js';
import { BYTES_PER_MB } from '../util/units.js';
import { accessAdvice, isAccessRefused } from './access.js';
import type { DestinationConfig } from './config.js';
import type { LaneEvent } from './lane.js';
import { isNotThere } from './reasons.js';
import { redactSecrets } from './secrets.js';

export interface ReporterOptions {
  logger: Logger;
  memory_limit_bytes: number;
  /** Whether pending data outlives the process. */
  is_kept: boolean;
  /** Milliseconds of a monotonic clock. */
  now: () => number;
}

type ReportedEvent = Exclude<LaneEvent, { kind: 'answered' }>;

/** The least time until the same message is logged again. */
export const REPEAT_AFTER_MS = 60_000;

/** What a loss counts, by signal. */
const ITEM_NOUNS: Readonly<Record<Signal, string>> = {
  traces: 'span',
  metrics: 'data point',
  logs: 'log record',
};

/** The most characters shown of a backend's message. */
const MAX_MESSAGE_LENGTH = 200;

export function createReporter(
  config: DestinationConfig,
  options: ReporterOptions,
): (signal: Signal, event: ReportedEvent) => void {
  const redact = createRedactor(config);
  const logHealth = createHealth(config, options, redact);
  const logLoss = createLossLog(config, options, redact);
  const logEncoding = createEncodingLog(config, options, redact);
  const logAccess = createAccessLog(config, options);
  return (signal, event) => {
    if (event.kind === 'encoding') logEncoding(signal, event);
    else if (event.kind !== 'lost') logHealth(signal, event);
    else {
      logLoss(signal, event);
      if (isAccessRefused(event.reason)) logAccess(signal, event);
    }
  };
}

/** Redacts the secrets that the destination is sent, then cuts the text, so that no part of one remains. */
export const createRedactor =
  ({ endpoints }: Pick<DestinationConfig, 'endpoints'>): ((text: string) => string) =>
  (text) =>
    redactSecrets(text, Object.values(endpoints)).slice(0, MAX_MESSAGE_LENGTH).toWellFormed();

/** `HTTP 503`, `connect ECONNREFUSED 127.0.0.1`: the text after the colon may differ each time. */
const reasonIn = (message: string): string => message.split(':', 1)[0] ?? message;

/** A backend is down as long as any of its lanes is. */
function createHealth(
  { name, endpoints }: DestinationConfig,
  { logger, memory_limit_bytes, is_kept, now }: ReporterOptions,
  redact: (text: string) => string,
): (signal: Signal, event: Extract<ReportedEvent, { kind: 'refused' | 'down' | 'up' }>) => void {
  const down = new Set<Signal>();
  /** Present after it has been logged that the backend is down. */
  let said: { reason: string } | undefined;
  let say_again_ms = Number.NEGATIVE_INFINITY;
  const place = is_kept ? 'on disk' : `in memory, up to ${Math.round(memory_limit_bytes / BYTES_PER_MB)} MB,`;
  return (signal, event) => {
    if (event.kind === 'up') {
      if (!down.delete(signal) || down.size > 0 || said === undefined) return;
      said = undefined;
      logger.info({ destination: name }, `${name} accepts data again`);
      return;
    }
    if (event.kind === 'down') down.add(signal);
    const reason = reasonIn(event.message);
    const isNews = said === undefined ? event.kind === 'down' : down.has(signal) && said.reason !== reason;
    if (!isNews || now() < say_again_ms) return;
    said = { reason };
    say_again_ms = now() + REPEAT_AFTER_MS;
    const url = endpoints[signal]?.url;
    logger.warn(
      { destination: name, signal, url },
      `${name} does not accept data at ${url} (${redact(event.message)}): data is kept ${place} and retried until it is accepted`,
    );
  };
}

export type LossEvent = Extract<ReportedEvent, { kind: 'lost' }>;

export function createLossLog(
  { name, endpoints }: Pick<DestinationConfig, 'name' | 'endpoints'>,
  { logger, now }: Pick<ReporterOptions, 'logger' | 'now'>,
  redact: (text: string) => string,
): (signal: Signal, event: LossEvent) => void {
  const unsaid = new Map<string, { count: number; say_again_ms: number }>();
  return (signal, { fate, reason, count, message }) => {
    const key = `${signal} ${fate} ${reason}`;
    const losses = unsaid.get(key) ?? { count: 0, say_again_ms: Number.NEGATIVE_INFINITY };
    losses.count += count;
    unsaid.set(key, losses);
    // Losses of previews do not count.
    if (losses.count === 0 || now() < losses.say_again_ms) return;
    const advice = isNotThere(reason) ? `; check the URL ${endpoints[signal]?.url}` : '';
    logger.error(
      { destination: name, signal, reason, count: losses.count },
      `${name}: ${counted(losses.count, ITEM_NOUNS[signal])} ${fate} permanently (${reason}): ${redact(message)}${advice}`,
    );
    losses.count = 0;
    losses.say_again_ms = now() + REPEAT_AFTER_MS;
  };
}

/** Logs once per destination that its lanes switch to JSON, which each finds out for itself. */
function createEncodingLog(
  { name, endpoints }: DestinationConfig,
  { logger }: ReporterOptions,
  redact: (text: string) => string,
): (signal: Signal, event: Extract<ReportedEvent, { kind: 'encoding' }>) => void {
  let said = false;
  return (signal, { message }) => {
    if (said) return;
    said = true;
    const url = endpoints[signal]?.url;
    logger.warn(
      { destination: name, signal, url },
      `${name} does not accept protobuf at ${url} (${redact(message)}): this data and all later data is sent as JSON; set "encoding: json" in the configuration file to skip the first attempt`,
    );
  };
}

/** Logs, once, how to get access. */
function createAccessLog(
  config: DestinationConfig,
  { logger, is_kept }: ReporterOptions,
): (signal: Signal, event: Extract<ReportedEvent, { kind: 'lost' }>) => void {
  const { name, endpoints } = config;
  const after = is_kept
    ? '; then send the rejected data, kept as dead letters, with "dead-letters resend"'
    : '';
  let said = false;
  return (signal, { reason }) => {
    const endpoint = endpoints[signal];
    if (said || endpoint === undefined) return;
    said = true;
    logger.error(
      { destination: name, signal, reason },
      `${name} denied access at ${endpoint.url} (${reason}): ${accessAdvice(config, endpoint)}${after}`,
    );
  };
}
