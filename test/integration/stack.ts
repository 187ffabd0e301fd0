/**
 * The services of docker-compose.yml without containers: the same configuration files and commands, on free loopback ports
 * and with short intervals. Every replacement for that is in this file.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parse } from 'yaml';
import { type Backend, freePorts, homeFor, killAtHome, launch, removeDirectory } from './backends.js';
import { isWarning } from './collector.js';
import { REPOSITORY } from './installed.js';
import { type Prometheus, startPrometheus } from './prometheus.js';

export const COLLECTOR_CONFIGURATION = join(REPOSITORY, 'otel-collector.yaml');

export const readShipped = (path: string): Promise<string> => readFile(join(REPOSITORY, path), 'utf8');

interface ComposeService {
  image?: string;
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
}

export async function composeServices(): Promise<Record<string, ComposeService>> {
  const { services } = parse(await readShipped('docker-compose.yml'), { merge: true });
  return services;
}

/** Replaces texts; throws if one does not occur, which is a mistake in the test. */
export function replaceIn(text: string, replacements: Record<string, string>): string {
  return Object.entries(replacements).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(`there is no ${from} in:\n${changed}`);
    return changed.replaceAll(from, to);
  }, text);
}

export interface ShippedCollector extends Backend {
  health_url: string;
  /** Where Prometheus scrapes the metrics that were sent through it, and its own metrics. */
  metrics_host: string;
  own_metrics_host: string;
  /** The warnings and errors that it has printed. */
  warnings(): Promise<string[]>;
  /** Kills it, and starts it again on the queues that it left. */
  crash(): Promise<void>;
  restart(): Promise<void>;
}

/** Starts the Collector of otel-collector.yaml, in front of these backends. */
export async function startShippedCollector(backends: {
  clawmetry_url: string;
  jaeger_url: string;
}): Promise<ShippedCollector> {
  const directory = await homeFor('collector');
  const [otlp, health, metrics, own_metrics] = await freePorts(4);
  const overrides = [
    `receivers::otlp::protocols::http::endpoint: 127.0.0.1:${otlp}`,
    `extensions::health_check::endpoint: 127.0.0.1:${health}`,
    `exporters::prometheus::endpoint: 127.0.0.1:${metrics}`,
    `service::telemetry::metrics::readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${own_metrics}}}}}]`,
    'connectors::span_metrics::metrics_flush_interval: 1s',
  ];
  const health_url = `http://127.0.0.1:${health}`;
  const start = () =>
    launch('collector', {
      args: [COLLECTOR_CONFIGURATION, ...overrides.map((each) => `yaml:${each}`)].flatMap((each) => [
        '--config',
        each,
      ]),
      env: {
        CLAWMETRY_ENDPOINT: backends.clawmetry_url,
        JAEGER_ENDPOINT: backends.jaeger_url,
        QUEUE_DIRECTORY: join(directory, 'queue'),
      },
      directory,
      health_url,
    });
  let launched = await start();
  return {
    otlp_url: `http://127.0.0.1:${otlp}`,
    health_url,
    metrics_host: `127.0.0.1:${metrics}`,
    own_metrics_host: `127.0.0.1:${own_metrics}`,
    warnings: async () => (await launched.log()).filter(isWarning),
    crash: () => killAtHome(directory),
    async restart() {
      launched = await start();
    },
    async stop() {
      await launched.end();
      await removeDirectory(directory);
    },
  };
}

/** The feature flags of Prometheus in the compose file. */
async function prometheusFeatures(): Promise<string> {
  const { prometheus } = await composeServices();
  const feature = prometheus?.command?.find((each) => each.startsWith('--enable-feature='));
  if (feature === undefined) throw new Error('the compose file starts Prometheus without features');
  return feature;
}

/** Starts the Prometheus of deploy/prometheus.yml, which scrapes this Collector, or nothing. */
export async function startShippedPrometheus(collector?: ShippedCollector): Promise<Prometheus> {
  const configuration = replaceIn(await readShipped('deploy/prometheus.yml'), {
    'scrape_interval: 15s': 'scrape_interval: 1s',
    // Nothing listens on port 1.
    'collector:8889': collector?.metrics_host ?? '127.0.0.1:1',
    'collector:8888': collector?.own_metrics_host ?? '127.0.0.1:1',
  });
  return startPrometheus(configuration, [await prometheusFeatures()]);
}

/** The bridge's command in the compose file, with this port to listen on and this destination. */
export async function composeBridgeCommand(port: number, to: string): Promise<string[]> {
  const { bridge } = await composeServices();
  const replacements = { 'tcp:0.0.0.0:7077': `tcp:127.0.0.1:${port}`, 'collector=http://collector:4318': to };
  return JSON.parse(replaceIn(JSON.stringify(bridge?.command), replacements));
}

/** Sends recordings to a listening bridge, each over a connection of its own. */
export async function feed(port: number, recordings: string[]): Promise<void> {
  for (const recording of recordings) {
    await pipeline(createReadStream(recording), connect({ host: '127.0.0.1', port }));
  }
}
