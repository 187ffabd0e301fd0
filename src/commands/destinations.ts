/**
 * Opens the destinations of a start: those that the user names, else what is found. They share one memory bound and one
 * set of instruments.
 */
import type { Logger } from 'pino';
import { discoverDestination } from '../discover.js';
import {
  type ConsoleConfig,
  createDestination,
  createMetrics,
  type DestinationConfig,
  type Metrics,
  parseDestinations,
  resolveDestinations,
} from '../export/index.js';
import type { Destination } from '../model/delivery.js';
import type { Settings } from '../settings.js';
import type { Summary } from '../summary.js';
import { createConsoleDestination } from '../terminal/console.js';
import { supportsUnicode } from '../terminal/unicode.js';

export interface OpenedDestinations {
  destinations: Destination[];
  metrics: Metrics;
  /** One of them draws trees on the terminal. */
  is_drawing: boolean;
  /** Whose counts the bridge's own metrics tell. */
  attach(bridge: { summary(): Summary }): void;
}

const BYTES_PER_MB = 1024 * 1024;
const DEFAULT_COLUMNS = 100;

type Config = DestinationConfig | ConsoleConfig;

async function chooseDestinations(
  settings: Settings,
  logger: Logger,
): Promise<{ configs: Config[] } | { error: string }> {
  const texts = [...settings.to];
  if (settings.to.length + settings.records.length === 0) {
    const { to, why } = await discoverDestination();
    logger.info(`sending to ${to}: ${why}; --to names another`);
    texts.push(to);
  }
  const parsed = parseDestinations(texts);
  if ('error' in parsed) return parsed;
  const resolved = resolveDestinations(parsed.options, settings.records);
  return 'error' in resolved ? resolved : { configs: resolved.destinations };
}

function openConsole(name: string): Destination {
  const stream = process.stdout;
  return createConsoleDestination({
    name,
    stream,
    is_tty: stream.isTTY === true,
    columns: DEFAULT_COLUMNS,
    color: stream.isTTY === true && process.env.NO_COLOR === undefined,
    unicode: supportsUnicode(process.env, process.platform),
    now: Date.now,
    timers: { setTimeout, clearTimeout },
  });
}

const NOTHING_YET = { source: { events: 0, rejected: {} }, destinations: {} };

export async function openDestinations(
  settings: Settings,
  logger: Logger,
): Promise<OpenedDestinations | { error: string }> {
  const chosen = await chooseDestinations(settings, logger);
  if ('error' in chosen) return chosen;
  const { configs } = chosen;
  const [shown, ...others] = configs.filter((config) => config.preset === 'console');
  if (others.length > 0) return { error: 'console is named twice: there is one terminal' };
  const memory_limit_bytes = (settings.limits.memory_mb * BYTES_PER_MB) / configs.length;
  let metrics: Metrics | undefined;
  let bridge: { summary(): Summary } | undefined;
  const remote = configs
    .filter((config) => config.preset !== 'console')
    .map((config) =>
      createDestination(config, {
        logger,
        memory_limit_bytes,
        onExport: (signal, name, duration_ms) => metrics?.recordExport(signal, name, duration_ms),
      }),
    );
  const readers = remote.flatMap(({ reader }) => reader ?? []);
  metrics = createMetrics(readers, () => bridge?.summary() ?? NOTHING_YET);
  return {
    destinations: shown === undefined ? remote : [...remote, openConsole(shown.name)],
    metrics,
    is_drawing: shown !== undefined,
    attach(opened) {
      bridge = opened;
    },
  };
}
