/**
 * A Collector with the example's configuration, which forwards lines to a bridge and writes down what comes back; and that
 * bridge. Each has its state in a directory, so that it can be killed and restarted.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePorts, homeFor, killAtHome, type Launched, launch, removeDirectory } from './backends.js';
import { type Bridge, startBridge } from './bridge.js';
import { parseRequests, type Received, unwrap } from './collector.js';
import { EXECUTABLES, REPOSITORY } from './installed.js';
import { startRelay } from './relay.js';

const EXAMPLE_CONFIG = join(REPOSITORY, 'examples/collector-to-bridge.yaml');
const OTHER_CONFIG = join(REPOSITORY, 'otel-collector.yaml');
const POLL_INTERVAL_MS = 50;

/** A killed Collector may leave a request without its line break. */
const GLUED = /(?<=\})(?=\{"resource)/;

export interface Transfer {
  encoding: 'proto' | 'json';
  compression: 'gzip' | 'none';
}

export interface Pipeline {
  /** The directory of the files whose lines are read. */
  events_directory: string;
  /** Also sends lines over a connection. */
  write(lines: string[]): Promise<void>;
  startCollector(): Promise<void>;
  killCollector(): Promise<void>;
  startBridge(): Promise<void>;
  /** Kills the bridge after it has acknowledged a request whose response is then lost. */
  killBridge(): Promise<void>;
  /** Stops the bridge as a user would; resolves with how it ended. */
  stopBridge(): ReturnType<Bridge['stop']>;
  /** What has come back from the bridge. */
  received(): Promise<Received>;
  /** Resolves when `isSo` returns true for what has come back. */
  until(isSo: (received: Received) => boolean): Promise<void>;
  /** Stops both, and deletes everything. */
  remove(): Promise<void>;
}

export async function createPipeline({ encoding, compression }: Transfer): Promise<Pipeline> {
  const directory = await homeFor('collector');
  const [otlp_port = 0, bridge_port = 0, tcp_port = 0] = await freePorts(3);
  const events_directory = join(directory, 'events');
  await mkdir(events_directory);
  const output_path = join(directory, 'output.ndjson');
  const otlp_url = `http://127.0.0.1:${otlp_port}`;
  const relay = await startRelay(bridge_port);
  let collector: Launched | undefined;
  let bridge: Bridge | undefined;

  const received = async (): Promise<Received> => {
    const output = await readFile(output_path, 'utf8').catch(() => '');
    // The last line may still be being written.
    const whole = output.slice(0, output.lastIndexOf('\n') + 1);
    return unwrap(parseRequests(whole.split(GLUED).join('\n')));
  };

  return {
    events_directory,
    received,
    async write(lines) {
      const socket = connect(tcp_port, '127.0.0.1');
      await new Promise((resolve) =>
        socket.end(lines.map((line) => `${line}\n`).join(''), () => resolve(undefined)),
      );
    },
    async startCollector() {
      collector = await launch('collector', {
        args: [
          '--feature-gates=stanza.synchronousLogEmitter',
          ...['--config', EXAMPLE_CONFIG],
          ...['--config', join(import.meta.dirname, 'pipeline.yaml')],
        ],
        env: {
          EVENT_FILES: join(events_directory, '*.ndjson'),
          EVENTS_LISTEN: `127.0.0.1:${tcp_port}`,
          BRIDGE_ENDPOINT: relay.url,
          QUEUE_DIRECTORY: join(directory, 'queue'),
          OTLP_PORT: String(otlp_port),
          OUTPUT_FILE: output_path,
          ENCODING: encoding,
          COMPRESSION: compression,
        },
        directory,
        // It answers 405 here, which shows that it is up.
        health_url: `${otlp_url}/v1/traces`,
      });
    },
    killCollector: () => killAtHome(directory),
    async startBridge() {
      bridge = await startBridge(
        [
          ...['run', '--from', `otlp:127.0.0.1:${bridge_port}`, '--to', `collector=${otlp_url}`],
          ...['--data-dir', join(directory, 'data')],
        ],
        DELTA,
      );
      await bridge.said('accepts log records at');
      relay.mend();
    },
    async killBridge() {
      await relay.loseAnswers();
      await bridge?.kill();
    },
    stopBridge() {
      if (bridge === undefined) throw new Error('there is no bridge');
      return bridge.stop();
    },
    async until(isSo) {
      while (!isSo(await received())) await sleep(POLL_INTERVAL_MS);
    },
    async remove() {
      await bridge?.kill();
      await collector?.end();
      relay.close();
      await removeDirectory(directory);
    },
  };
}

/** With delta temporality, a sum is the total of all requests of all processes. */
export const DELTA = { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' };

/** Throws if a Collector would not start with these configurations. */
export async function validateExamples(): Promise<void> {
  for (const configs of [[EXAMPLE_CONFIG], [EXAMPLE_CONFIG, OTHER_CONFIG]]) {
    const args = configs.flatMap((path) => ['--config', path]);
    await promisify(execFile)(EXECUTABLES.collector, ['validate', ...args]);
  }
}
