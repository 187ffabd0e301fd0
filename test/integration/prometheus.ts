/**
 * Prometheus with its OTLP receiver: how it is started, and what it answers to a query.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';
import { getJson } from './http.js';

export interface Prometheus extends Backend {
  /** Its address. */
  url: string;
  /** The series that a query of the instant gives, or of another one, in seconds since the epoch. */
  query(expression: string, at_s?: number): Promise<Series[]>;
  /** What it has printed that is worse than information. */
  warnings(): Promise<string[]>;
}

export interface Series {
  metric: Record<string, string>;
  /** Seconds since the epoch, and a number as text. */
  value: [number, string];
}

const CONFIGURATION = `
global: {scrape_interval: 1s}
otlp: {keep_identifying_resource_attributes: true}
storage: {tsdb: {out_of_order_time_window: 30m}}
`;

/** Prometheus with this configuration; it takes OTLP under any. */
export async function startPrometheus(
  configuration = CONFIGURATION,
  more_args: string[] = [],
): Promise<Prometheus> {
  const directory = await homeFor('prometheus');
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const file = join(directory, 'prometheus.yml');
  await writeFile(file, configuration);
  const { end, log } = await launch('prometheus', {
    args: [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--web.enable-otlp-receiver',
      ...more_args,
    ],
    env: {},
    directory,
    health_url: `${url}/-/ready`,
  });
  return {
    url,
    otlp_url: `${url}/api/v1/otlp`,
    async query(expression, at_s) {
      const time = at_s === undefined ? '' : `&time=${at_s}`;
      const answer = await getJson<{ data: { result: Series[] } }>(
        `${url}/api/v1/query?query=${encodeURIComponent(expression)}${time}`,
      );
      return answer.data.result;
    },
    warnings: async () => (await log()).filter((line) => /level=(WARN|ERROR)/.test(line)),
    async stop() {
      await end();
      await removeDirectory(directory);
    },
  };
}
