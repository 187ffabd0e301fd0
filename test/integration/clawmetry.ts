/**
 * Starts ClawMetry and reads its API. Only what the tests use is typed.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';
import { findJson, getJson } from './http.js';

export interface ClawMetry extends Backend {
  /** The tree of a trace; without spans if the trace is not known yet. */
  trace(trace_id: string): Promise<{ spans: TraceSpan[] }>;
  /** The Traces list. */
  traces(): Promise<TraceRow[]>;
  agentGraph(): Promise<AgentGraph>;
  /** The stored spans of the last hours, of all traces. */
  spans(): Promise<StoredSpan[]>;
  /** The rows of the Activity page, one per event. */
  activity(): Promise<FeedRow[]>;
  /** The rows of the Live Feed, which merges rows that look the same within ten seconds. */
  liveFeed(): Promise<FeedRow[]>;
  status(): Promise<Status>;
  /** Stops it, waits, and starts it on the same data. */
  restart(down_ms: number): Promise<void>;
}

export interface TraceSpan {
  span_id: string;
  parent_span_id: string | null;
  name: string;
  /** 0 while the span is open. */
  duration_ms: number;
  status: string;
  tool: string;
  tokens: number;
}

export interface StoredSpan {
  trace_id: string;
  span_id: string;
  parent_span_id: string | null;
  attrs: Record<string, unknown>;
  status: string;
  tokens_input: number | null;
  tokens_output: number | null;
  cost_usd: number | null;
}

export interface TraceRow {
  trace_id: string;
  source: string;
  span_count: number;
  total_tokens: number;
  total_cost_usd: number;
}

export interface AgentGraph {
  edges: { from: string; to: string }[];
  nodes: { id: string; total_tokens: number }[];
}

export interface FeedRow {
  type: string;
  /** The name of the tool. */
  detail: string;
  sessionId: string;
}

export interface Status {
  /** What the tiles are computed from: one entry per model call. */
  counts: { tokens: number; cost: number };
  intake: {
    signals: Record<
      'traces' | 'metrics' | 'logs',
      {
        items: { received: number; stored: number; rejected: number; retry_requested: number };
        requests: { malformed: number; partially_acknowledged: number; protobuf_unavailable: number };
      }
    >;
  };
}

/** Removes ClawMetry's own rows about a gateway: it looks for one among all processes of the machine. */
const ofAgents = (rows: FeedRow[]): FeedRow[] => rows.filter(({ type }) => type !== 'GATEWAY.METRIC');

/**
 * ClawMetry next to an OpenClaw that has never run, configured not to contact anybody. `clawmetry-otel` is the one with the
 * extra for protobuf.
 */
export async function startClawMetry(name: 'clawmetry' | 'clawmetry-otel' = 'clawmetry'): Promise<ClawMetry> {
  const directory = await homeFor(name);
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const openclaw = join(directory, '.openclaw');
  await mkdir(join(openclaw, 'agents/main/sessions'), { recursive: true });
  const options = {
    args: ['--host', '127.0.0.1', '--port', String(port)],
    env: {
      CLAWMETRY_OPENCLAW_DIR: openclaw,
      CLAWMETRY_HOME: join(directory, '.clawmetry'),
      // Otherwise it would also take port 4318, where others may expect a Collector.
      CLAWMETRY_OTLP_PORT_DISABLE: '1',
      CLAWMETRY_NO_TELEMETRY: '1',
      CLAWMETRY_OFFLINE: '1',
      CLAWMETRY_NO_CLOUD: '1',
      CLAWMETRY_AUTO_UPDATE: '0',
    },
    directory,
    health_url: `${url}/api/otel-status`,
  };
  let launched = await launch(name, options);
  return {
    otlp_url: url,
    trace: async (trace_id) => (await findJson(`${url}/api/trace/${trace_id}`)) ?? { spans: [] },
    traces: async () => (await getJson<{ traces: TraceRow[] }>(`${url}/api/traces`)).traces,
    spans: async () => (await getJson<{ spans: StoredSpan[] }>(`${url}/api/spans?limit=500`)).spans,
    activity: async () =>
      ofAgents((await getJson<{ brain_events: FeedRow[] }>(`${url}/api/activity?limit=100`)).brain_events),
    agentGraph: () => getJson(`${url}/api/local/agent-graph`),
    liveFeed: async () => ofAgents((await getJson<{ events: FeedRow[] }>(`${url}/api/brain-history`)).events),
    status: () => getJson(`${url}/api/otel-status`),
    async restart(down_ms) {
      await launched.stop();
      await sleep(down_ms);
      launched = await launch(name, options);
    },
    async stop() {
      await launched.end();
      await removeDirectory(directory);
    },
  };
}
