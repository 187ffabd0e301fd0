/** The ways of telemetry to a backend, with or without a Collector in between, and the columns that they fill. */
import { expect, vi } from 'vitest';
import type { Backend } from '../backends.js';
import { type ClawMetry, startClawMetry } from '../clawmetry.js';
import { startCollector } from '../collector.js';
import type { BackendName } from '../installed.js';
import { type Jaeger, startJaeger } from '../jaeger.js';
import { type Prometheus, startPrometheus } from '../prometheus.js';
import { startShippedCollector, startShippedPrometheus } from '../stack.js';
import type { Quantity, Shown } from './quantities.js';
import { clawMetryShows, collectorShows, jaegerShows, prometheusShows } from './shows.js';

export interface Column {
  title: string;
  /** Why a quantity is not shown. */
  without: Partial<Record<Quantity, string>>;
}

export interface Running {
  /** The bridge's destination, as in its configuration file. */
  destination: { preset: string; url: string; encoding: Encoding };
  /** The values of each column, once everything that was sent has arrived. */
  show(trace_id: string, sent: Sent): Promise<Shown[]>;
  stop(): Promise<void>;
}

/**
 * Totals of what was sent so far; each sending is the same. They are what a backend that stores after its response is
 * waited for.
 */
export interface Sent {
  times: number;
  spans: number;
  logs: number;
  /** The log records of tool calls among them. */
  tool_logs: number;
}

type Encoding = 'json' | 'protobuf';

export interface Way {
  name: string;
  needs: BackendName[];
  /** False for a way whose values equal those of another way in the table. */
  in_table: boolean;
  columns: Column[];
  start(): Promise<Running>;
}

const NO_LINKS = 'It stores no links';
const NO_SUM = 'It does not add up two kinds of tokens';
const ONLY_CLAWMETRY = 'An API of ClawMetry';
const TRACES_ALONE = 'It accepts only traces';
const METRICS_ALONE = 'It accepts only metrics, which do not identify a request';
const ONLY_SHOWN = 'It shows only logs of tool calls, so it gets no others';

const CLAWMETRY_WITHOUT = { links: NO_LINKS, other_logs: ONLY_SHOWN };
const JAEGER_WITHOUT = {
  all_tokens: NO_SUM,
  tool_logs: TRACES_ALONE,
  other_logs: TRACES_ALONE,
  feed_rows: ONLY_CLAWMETRY,
};
const PROMETHEUS_WITHOUT = {
  traces: METRICS_ALONE,
  spans: METRICS_ALONE,
  parents: METRICS_ALONE,
  edges: METRICS_ALONE,
  links: METRICS_ALONE,
  counted_calls: METRICS_ALONE,
  all_tokens: NO_SUM,
  tool_logs: METRICS_ALONE,
  other_logs: METRICS_ALONE,
  feed_rows: ONLY_CLAWMETRY,
};

const ENCODINGS = { json: 'JSON', protobuf: 'protobuf' } as const;

function clawMetryWay(name: 'clawmetry' | 'clawmetry-otel', encoding: Encoding, in_table: boolean): Way {
  const title = name === 'clawmetry' ? 'ClawMetry' : 'ClawMetry [otel]';
  return {
    name: `${title}, ${ENCODINGS[encoding]}`,
    needs: [name],
    in_table,
    columns: [{ title: `${title}, ${ENCODINGS[encoding]}`, without: CLAWMETRY_WITHOUT }],
    async start() {
      const clawmetry = await startClawMetry(name);
      return {
        destination: { preset: 'clawmetry', url: clawmetry.otlp_url, encoding },
        async show(trace_id) {
          // Without the protobuf extra, ClawMetry answers 501 and gets the same in JSON; with it, it reads protobuf.
          const { signals } = (await clawmetry.status()).intake;
          const answered_501 = signals.traces.requests.protobuf_unavailable > 0;
          expect(answered_501).toBe(name === 'clawmetry' && encoding === 'protobuf');
          return [await clawMetryShows(clawmetry, trace_id)];
        },
        stop: clawmetry.stop,
      };
    },
  };
}

function jaegerWay(encoding: Encoding, in_table: boolean): Way {
  return {
    name: `Jaeger, ${ENCODINGS[encoding]}`,
    needs: ['jaeger'],
    in_table,
    columns: [{ title: 'Jaeger', without: JAEGER_WITHOUT }],
    async start() {
      const jaeger = await startJaeger();
      return {
        destination: { preset: 'jaeger', url: jaeger.otlp_url, encoding },
        show: async (trace_id) => [await jaegerShows(jaeger, trace_id)],
        stop: jaeger.stop,
      };
    },
  };
}

function collectorWay(encoding: Encoding, in_table: boolean): Way {
  return {
    name: `a Collector, ${ENCODINGS[encoding]}`,
    needs: ['collector'],
    in_table,
    columns: [{ title: 'Collector', without: { all_tokens: NO_SUM, feed_rows: ONLY_CLAWMETRY } }],
    async start() {
      const collector = await startCollector();
      return {
        destination: { preset: 'collector', url: collector.otlp_url, encoding },
        async show(_, sent) {
          // It responds before it has written.
          const received = await vi.waitFor(async () => {
            const read = await collector.read();
            expect([read.spans.length, read.logs.length]).toEqual([sent.spans, sent.logs]);
            return read;
          }, WAIT);
          return [collectorShows(received, sent.times, await collector.warnings())];
        },
        stop: collector.stop,
      };
    },
  };
}

const WAIT = { timeout: 30_000, interval: 100 };

function prometheusWay(encoding: Encoding, in_table: boolean): Way {
  return {
    name: `Prometheus, ${ENCODINGS[encoding]}`,
    needs: ['prometheus'],
    in_table,
    columns: [{ title: 'Prometheus', without: PROMETHEUS_WITHOUT }],
    async start() {
      const prometheus = await startPrometheus();
      return {
        destination: { preset: 'prometheus', url: prometheus.otlp_url, encoding },
        show: async () => [await prometheusShows(prometheus)],
        stop: prometheus.stop,
      };
    },
  };
}

/** Resolves when ClawMetry has accepted everything. */
const untilTaken = (clawmetry: ClawMetry, sent: Sent): Promise<void> =>
  vi.waitFor(async () => {
    const { traces, logs } = (await clawmetry.status()).intake.signals;
    expect([traces.items.received, logs.items.received]).toEqual([sent.spans, sent.tool_logs]);
  }, WAIT);

/** Resolves when Jaeger has the complete trace. */
const untilWhole = (jaeger: Jaeger, trace_id: string, sent: Sent): Promise<void> =>
  vi.waitFor(async () => {
    expect((await jaeger.spans(trace_id)).length).toBeGreaterThanOrEqual(sent.spans / sent.times);
  }, WAIT);

/** Resolves when Prometheus has scraped its target again. */
async function untilScraped(prometheus: Prometheus): Promise<void> {
  const now_s = Date.now() / 1000;
  await vi.waitFor(async () => {
    const [last] = await prometheus.query('timestamp(gen_ai_invoke_agent_duration_seconds_count)');
    expect(Number(last?.value[1] ?? 0)).toBeGreaterThan(now_s);
  }, WAIT);
}

/** The Collector with the shipped configuration, and the backends behind it. */
const BETWEEN: Way = {
  name: 'through otel-collector.yaml',
  needs: ['collector', 'clawmetry', 'jaeger', 'prometheus'],
  in_table: true,
  columns: [
    { title: '→ ClawMetry', without: CLAWMETRY_WITHOUT },
    { title: '→ Jaeger', without: JAEGER_WITHOUT },
    { title: '→ Prometheus', without: PROMETHEUS_WITHOUT },
  ],
  async start() {
    const [clawmetry, jaeger] = await Promise.all([startClawMetry(), startJaeger()]);
    const collector = await startShippedCollector({
      clawmetry_url: clawmetry.otlp_url,
      jaeger_url: jaeger.otlp_url,
    });
    const prometheus = await startShippedPrometheus(collector);
    const started: Backend[] = [prometheus, collector, jaeger, clawmetry];
    return {
      destination: { preset: 'collector', url: collector.otlp_url, encoding: 'protobuf' },
      async show(trace_id, sent) {
        await Promise.all([
          untilTaken(clawmetry, sent),
          untilWhole(jaeger, trace_id, sent),
          untilScraped(prometheus),
        ]);
        const warnings = { 'the Collector': (await collector.warnings()).length };
        const shown = await Promise.all([
          clawMetryShows(clawmetry, trace_id),
          jaegerShows(jaeger, trace_id),
          prometheusShows(prometheus),
        ]);
        return shown.map((each) =>
          each.warnings ? { ...each, warnings: { ...each.warnings, ...warnings } } : each,
        );
      },
      stop: async () => {
        for (const backend of started) await backend.stop();
      },
    };
  },
};

export const WAYS: Way[] = [
  clawMetryWay('clawmetry', 'json', true),
  clawMetryWay('clawmetry', 'protobuf', false),
  clawMetryWay('clawmetry-otel', 'protobuf', true),
  clawMetryWay('clawmetry-otel', 'json', false),
  jaegerWay('protobuf', true),
  jaegerWay('json', false),
  collectorWay('protobuf', true),
  collectorWay('json', false),
  prometheusWay('protobuf', true),
  prometheusWay('json', false),
  BETWEEN,
];
