/**
 * Starts Prometheus with its OTLP receiver, and queries it.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';
import { getJson } from './http.js';

export interface Prometheus extends Backend {
  /** Its base URL. */
  url: string;
  /** The result of an instant query, now or at another time in seconds since the epoch. */
  query(expression: string, at_s?: number): Promise<Series[]>;
  /** The warnings and errors that it has printed. */
  warnings(): Promise<string[]>;
}

export interface Series {
  metric: Record<string, string>;
  /** The time in seconds since the epoch, and the value as a string. */
  value: [number, string];
}

const CONFIGURATION = `
global: {scrape_interval: 1s}
otlp: {keep_identifying_resource_attributes: true}
storage: {tsdb: {out_of_order_time_window: 30m}}
`;

/** Starts Prometheus with this configuration; its OTLP receiver is always enabled. */
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
