/**
 * Opens the destinations of a start: those that the user names, or else one that is discovered. They share one memory limit and
 * one set of instruments.
 */

import {
  type ConsoleConfig,
  createDestination,
  createMetrics,
  createProcessorDestination,
  createResource,
  createTotalsReader,
  type DestinationConfig,
  type Metrics,
  type ProcessorsConfig,
  parseDestinations,
  resolveDestinations,
  resourceProblem,
  type TotalsReader,
} from '../export/index.js';
import type { Destination, SavedDeliveries } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { Summary } from '../summary.js';
import { createConsoleDestination } from '../terminal/console.js';
import { supportsColor, takesEscapes } from '../terminal/escapes.js';
import { supportsUnicode } from '../terminal/unicode.js';
import { errorReason } from '../util/errors.js';
import { newInstanceId } from '../util/instance-id.js';
import { BYTES_PER_MB } from '../util/units.js';
import { type Choice, discoverDestination } from './discover.js';
import type { Settings } from './settings.js';

export interface OpenedDestinations {
  destinations: Destination[];
  metrics: Metrics;
  /** Whether any destination reads the metrics. */
  is_metered: boolean;
  /** Whether a destination draws trees on the terminal. */
  is_drawing: boolean;
  /** Sets the bridge whose counts the bridge's own metrics report. */
  attach(bridge: { summary(): Summary }): void;
}

const DEFAULT_COLUMNS = 100;

type Config = DestinationConfig | ConsoleConfig;

const isConsole = (config: Config): config is ConsoleConfig => config.preset === 'console';

export interface ChosenDestinations {
  configs: Config[];
  /** The discovered destination, if the user names none. */
  found?: Choice;
}

export async function chooseDestinations(
  settings: Settings,
): Promise<ChosenDestinations | { error: string }> {
  const is_named = settings.to.length + settings.records.length > 0;
  const found = is_named ? undefined : await discoverDestination();
  const parsed = parseDestinations(found === undefined ? settings.to : [found.to]);
  if ('error' in parsed) return { error: `--to: ${parsed.error}` };
  const resolved = resolveDestinations(parsed.options, settings.records);
  if ('error' in resolved) return resolved;
  return { configs: resolved.destinations, ...(found === undefined ? {} : { found }) };
}

function openConsole(name: string): Destination & Pick<TotalsReader, 'reader'> {
  const stream = process.stdout;
  const { reader, collect } = createTotalsReader();
  const destination = createConsoleDestination({
    name,
    stream,
    is_live: takesEscapes(stream, process.env),
    columns: DEFAULT_COLUMNS,
    color: supportsColor(stream, process.env),
    unicode: supportsUnicode(process.env, process.platform),
    collectMetrics: collect,
    now: Date.now,
    timers: { setTimeout, clearTimeout },
  });
  return { ...destination, reader };
}

const NOTHING_YET = { source: { events: 0, rejected: {} }, destinations: {} };

export interface OpenOptions {
  logger: Logger;
  /** The memory limit of all destinations together. */
  memory_mb: number;
  /** What the previous process left for the destinations; absent without a store. */
  saved?: SavedDeliveries | undefined;
  /** The instance id under which metrics are counted. Default: the previous one, or else a new one. */
  instance_id?: string | undefined;
  /** Processors and readers of the program that embeds the bridge. */
  processors?: ProcessorsConfig[];
}

/** Opens destinations whose settings are complete. */
export function openConfigured(
  configs: Config[],
  { logger, memory_mb, saved, instance_id = saved?.instance_id, processors = [] }: OpenOptions,
): OpenedDestinations | { error: string } {
  const shown = configs.find(isConsole);
  // The terminal queues nothing, so it has no share of the memory.
  const backends = configs.filter((config) => !isConsole(config));
  const memory_limit_bytes = (memory_mb * BYTES_PER_MB) / (backends.length + processors.length);
  const resource = createResource(instance_id ?? newInstanceId());
  let metrics: Metrics | undefined;
  let bridge: { summary(): Summary } | undefined;
  const remote = backends.map((config) =>
    createDestination(config, {
      logger,
      memory_limit_bytes,
      saved,
      resource,
      onExport: (signal, name, duration_ms) => metrics?.recordExport(signal, name, duration_ms),
    }),
  );
  const own = processors.map((config) =>
    createProcessorDestination(config, { logger, memory_limit_bytes, resource }),
  );
  const terminal = shown === undefined ? [] : [openConsole(shown.name)];
  const destinations = [...remote, ...own, ...terminal];
  const problem = remote.length + own.length > 0 ? resourceProblem() : undefined;
  if (problem !== undefined) logger.warn(problem);
  const readers = destinations.flatMap(({ reader }) => reader ?? []);
  try {
    metrics = createMetrics(readers, () => bridge?.summary() ?? NOTHING_YET, resource);
  } catch (error) {
    // A reader of the embedding program may be in use already; those of the bridge are new.
    for (const destination of destinations) void destination.close();
    return { error: `a metric reader can't be used: ${errorReason(error)}; pass each bridge its own reader` };
  }
  return {
    destinations,
    metrics,
    is_metered: readers.length > 0,
    is_drawing: shown !== undefined,
    attach(opened) {
      bridge = opened;
    },
  };
}

/** `saved`: what the previous process left for the destinations; absent without a store. */
export function openChosen(
  { configs, found }: ChosenDestinations,
  { limits: { memory_mb } }: Settings,
  logger: Logger,
  saved?: SavedDeliveries,
  instance_id?: string,
): OpenedDestinations | { error: string } {
  if (found !== undefined) logger.info(`sending to ${found.to}: ${found.why}; use --to to choose another`);
  return openConfigured(configs, { logger, memory_mb, saved, instance_id });
}

export async function openDestinations(
  settings: Settings,
  logger: Logger,
  saved?: SavedDeliveries,
): Promise<OpenedDestinations | { error: string }> {
  const chosen = await chooseDestinations(settings);
  return 'error' in chosen ? chosen : openChosen(chosen, settings, logger, saved);
}
