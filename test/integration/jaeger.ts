/**
 * Starts Jaeger and reads its API. Only what the tests use is typed.
 */
import { join } from 'node:path';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';
import { getJson } from './http.js';

export interface Jaeger extends Backend {
  spans(trace_id: string): Promise<JaegerSpan[]>;
  /** The ids of the traces of the last hour. */
  traces(): Promise<string[]>;
}

export interface JaegerSpan {
  traceID: string;
  spanID: string;
  operationName: string;
  references: { refType: 'CHILD_OF' | 'FOLLOWS_FROM'; traceID: string; spanID: string }[];
  tags: { key: string; value: unknown }[];
  /** What Jaeger finds wrong with the span. */
  warnings: string[] | null;
}

/** Starts Jaeger with its traces in memory. */
export async function startJaeger(): Promise<Jaeger> {
  const directory = await homeFor('jaeger');
  const [otlp, query, grpc] = await freePorts(3);
  const api_url = `http://127.0.0.1:${query}/api`;
  const { end } = await launch('jaeger', {
    args: ['--config', join(import.meta.dirname, 'jaeger.yaml')],
    env: {
      OTLP_PORT: String(otlp),
      QUERY_PORT: String(query),
      GRPC_PORT: String(grpc),
      // Otherwise it would send its own traces to port 4317, and at its end wait ten seconds for them to be accepted.
      OTEL_TRACES_SAMPLER: 'always_off',
    },
    directory,
    health_url: `${api_url}/services`,
  });
  return {
    otlp_url: `http://127.0.0.1:${otlp}`,
    async spans(trace_id) {
      const { data } = await getJson<{ data: { spans: JaegerSpan[] }[] }>(`${api_url}/traces/${trace_id}`);
      return data.flatMap((trace) => trace.spans);
    },
    async traces() {
      const { data } = await getJson<{ data: { traceID: string }[] }>(`${api_url}/traces?service=openclaw`);
      return data.map(({ traceID }) => traceID);
    },
    async stop() {
      await end();
      await removeDirectory(directory);
    },
  };
}
