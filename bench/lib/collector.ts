/** A real Collector before the sink: what is measured sends to it, and what it has taken it hands on. */
import { resolve } from 'node:path';
import {
  type Backend,
  freePorts,
  homeFor,
  launch,
  removeDirectory,
} from '../../test/integration/backends.js';

const CONFIG = resolve('bench/sink/collector.yaml');

/** Throws where none is installed. */
export async function startCollectorBefore(sink_url: string): Promise<Backend> {
  const directory = await homeFor('collector');
  const [port] = await freePorts(1);
  const otlp_url = `http://127.0.0.1:${port}`;
  const { end } = await launch('collector', {
    args: ['--config', CONFIG],
    env: { OTLP_PORT: String(port), SINK_URL: sink_url },
    directory,
    // It answers 405 here, which is an answer.
    health_url: `${otlp_url}/v1/traces`,
  });
  return {
    otlp_url,
    async stop() {
      await end();
      await removeDirectory(directory);
    },
  };
}
