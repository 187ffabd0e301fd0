/**
 * Logs the state of a destination: that its backend is down and why, that it is back, and what was lost. Each is logged once,
 * and again at most once a minute if the reason changes or more is lost; at the end, what is left to be logged of losses. No
 * header value gets into a message, even if a backend repeats it.
 */

import { ITEM_NOUNS, type Signal } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import { counted } from '../util/counted.js';
import { BYTES_PER_MB } from '../util/units.js';
import { accessAdvice, isAccessRefused } from './access.js';
import type { DestinationConfig } from './config.js';
import type { LaneEvent } from './lane.js';
import type { LossEvent } from './ledger.js';
import { isNotThere } from './reasons.js';
import { redactSecrets } from './secrets.js';

export interface ReporterOptions {
  logger: Logger;
  memory_limit_bytes: number;
  /** Whether pending data outlives the process. */
  is_persisted: boolean;
  /** Whether the store can be written, as far as is known. */
  isWritable: () => boolean;
  /** Milliseconds of a monotonic clock. */
  now: () => number;
}

type ReportedEvent = Exclude<LaneEvent, { kind: 'answered' }>;

/** The least time until the same message is logged again. */
export const REPEAT_AFTER_MS = 60_000;

/** The most characters shown of a backend's message. */
const MAX_MESSAGE_LENGTH = 200;

export interface Reporter {
  report(signal: Signal, event: ReportedEvent): void;
  /** Logs the losses that have not been logged, and from now on each at once. */
  end(): void;
}

export function createReporter(config: DestinationConfig, options: ReporterOptions): Reporter {
  const redact = createRedactor(config);
  const logHealth = createHealth(config, options, redact);
  const losses = createLossLog(config, options, redact);
  const logEncoding = createEncodingLog(config, options, redact);
  const logAccess = createAccessLog(config, options);
  return {
    report(signal, event) {
      if (event.kind === 'encoding') logEncoding(signal, event);
      else if (event.kind !== 'lost') logHealth(signal, event);
      else {
        losses.report(signal, event);
        if (isAccessRefused(event.reason)) logAccess(signal, event);
      }
    },
    end: losses.end,
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
  { logger, memory_limit_bytes, is_persisted, isWritable, now }: ReporterOptions,
  redact: (text: string) => string,
): (signal: Signal, event: Extract<ReportedEvent, { kind: 'refused' | 'down' | 'up' }>) => void {
  const down = new Set<Signal>();
  /** Present after it has been logged that the backend is down. */
  let logged: { reason: string } | undefined;
  let next_log_ms = Number.NEGATIVE_INFINITY;
  const in_memory = `in memory, up to ${Math.round(memory_limit_bytes / BYTES_PER_MB)} MB,`;
  return (signal, event) => {
    if (event.kind === 'up') {
      if (!down.delete(signal) || down.size > 0 || logged === undefined) return;
      logged = undefined;
      logger.info({ destination: name }, `${name} accepts data again`);
      return;
    }
    if (event.kind === 'down') down.add(signal);
    const reason = reasonIn(event.message);
    const isNews =
      logged === undefined ? event.kind === 'down' : down.has(signal) && logged.reason !== reason;
    if (!isNews || now() < next_log_ms) return;
    logged = { reason };
    next_log_ms = now() + REPEAT_AFTER_MS;
    const url = endpoints[signal]?.url;
    const place = is_persisted && isWritable() ? 'on disk' : in_memory;
    logger.warn(
      { destination: name, signal, url },
      `${name} does not accept data at ${url} (${redact(event.message)}): data is kept ${place} and retried until it is accepted`,
    );
  };
}

interface Losses {
  signal: Signal;
  /** The latest of them. */
  last: LossEvent;
  /** How many have not been logged. */
  unlogged: number;
  next_log_ms: number;
}

export function createLossLog(
  { name, endpoints }: Pick<DestinationConfig, 'name' | 'endpoints'>,
  { logger, now }: Pick<ReporterOptions, 'logger' | 'now'>,
  redact: (text: string) => string,
): { report(signal: Signal, event: LossEvent): void; end(): void } {
  const all = new Map<string, Losses>();
  let has_ended = false;

  function log(losses: Losses): void {
    const { signal, last, unlogged: count } = losses;
    const { fate, reason, message } = last;
    // Losses of previews do not count.
    if (count === 0 || (!has_ended && now() < losses.next_log_ms)) return;
    const advice = isNotThere(reason) ? `; check the URL ${endpoints[signal]?.url}` : '';
    logger.error(
      { destination: name, signal, reason, count },
      `${name}: ${counted(count, ITEM_NOUNS[signal])} ${fate} permanently (${reason}): ${redact(message)}${advice}`,
    );
    losses.unlogged = 0;
    losses.next_log_ms = now() + REPEAT_AFTER_MS;
  }

  return {
    report(signal, event) {
      const key = `${signal} ${event.fate} ${event.reason}`;
      const known = all.get(key);
      const losses = known ?? { signal, last: event, unlogged: 0, next_log_ms: Number.NEGATIVE_INFINITY };
      losses.last = event;
      losses.unlogged += event.count;
      if (known === undefined) all.set(key, losses);
      log(losses);
    },
    end() {
      has_ended = true;
      for (const losses of all.values()) log(losses);
    },
  };
}

/** Logs once per destination that its lanes switch to JSON, which each finds out for itself. */
function createEncodingLog(
  { name, endpoints }: DestinationConfig,
  { logger }: ReporterOptions,
  redact: (text: string) => string,
): (signal: Signal, event: Extract<ReportedEvent, { kind: 'encoding' }>) => void {
  let logged = false;
  return (signal, { message }) => {
    if (logged) return;
    logged = true;
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
  { logger, is_persisted }: ReporterOptions,
): (signal: Signal, event: LossEvent) => void {
  const { name, endpoints } = config;
  const after = is_persisted
    ? '; then send the rejected data, kept as dead letters, with "dead-letters resend"'
    : '';
  let logged = false;
  return (signal, { reason }) => {
    const endpoint = endpoints[signal];
    if (logged || endpoint === undefined) return;
    logged = true;
    logger.error(
      { destination: name, signal, reason },
      `${name} denied access at ${endpoint.url} (${reason}): ${accessAdvice(config, endpoint)}${after}`,
    );
  };
}
