/**
 * The bridge as a stage in a Collector's pipeline: lines in files and on a connection go through a real Collector to the
 * bridge, and spans, metrics and log records back to it, while both are killed. What arrives is what a replay of the same
 * lines gives, each increment of a metric once.
 */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { decodeFile, example, fixture, readLines } from '../helpers.js';
import { lawBreakers, startBridge } from './bridge.js';
import {
  type OtlpDataPoint,
  type OtlpLogRecord,
  type OtlpMetric,
  pointsOf,
  type Received,
  startCollector,
} from './collector.js';
import { isSkipped } from './installed.js';
import { createPipeline, DELTA, type Pipeline, validateExamples } from './pipeline.js';

/** Nothing in it tells that it is the same as another but all of it. */
const anonymous = (event: object): string =>
  JSON.stringify({ ...event, event_id: undefined, seq: undefined, response_id: undefined });

/** By the name of the file: frames of the gateway and events of the catalog, all of them recorded. */
const FILES: Record<string, string[]> = {
  'frames.ndjson': readLines(example('sub-agents.ndjson')),
  'events.ndjson': decodeFile(example('tools.ndjson')).map((event) => JSON.stringify(event)),
  'anonymous.ndjson': decodeFile(fixture('gateway/spawn.ndjson')).map(anonymous),
};
/** What comes over a connection. */
const CONNECTION = example('catalog.ndjson');

const LINE_INTERVAL_MS = 10;

/** Spans and log records by what they are; a copy has to be the same. */
function unique<T>(all: T[], keyOf: (each: T) => string): Record<string, T> {
  const found: Record<string, T> = {};
  for (const each of all) {
    const key = keyOf(each);
    if (found[key] !== undefined) expect(each).toEqual(found[key]);
    found[key] = each;
  }
  return found;
}

/** When something was seen is no part of it. */
const withoutObserved = ({ observedTimeUnixNano: _, ...record }: OtlpLogRecord) => record;

function sumsOf(metrics: OtlpMetric[]): Record<string, number> {
  const sums: Record<string, number> = {};
  const seen = new Set<string>();
  const add = (key: string, value: number): void => {
    sums[key] = Number(((sums[key] ?? 0) + value).toFixed(6));
  };
  const addPoint = (name: string, { startTimeUnixNano, timeUnixNano, ...point }: OtlpDataPoint): void => {
    const key = `${name} ${JSON.stringify(point.attributes)}`;
    // A request that is repeated is the same, its times included.
    const id = `${key} ${startTimeUnixNano} ${timeUnixNano}`;
    if (seen.has(id)) return;
    seen.add(id);
    add(key, Number(point.asInt ?? point.asDouble ?? point.sum ?? 0));
    if (point.count !== undefined) add(`${key} count`, Number(point.count));
  };
  for (const metric of metrics) {
    // The bridge's own tell of one process.
    if (metric.name.startsWith('openclaw_otel_bridge.')) continue;
    for (const point of pointsOf(metric)) addPoint(metric.name, point);
  }
  return sums;
}

/** All that matters of what a backend took. */
const contentOf = ({ spans, metrics, logs }: Received) => ({
  spans: unique(spans, ({ spanId }) => spanId),
  logs: unique(logs.map(withoutObserved), (record) => JSON.stringify(record)),
  sums: sumsOf(metrics),
});

async function replayAll(directory: string): Promise<ReturnType<typeof contentOf>> {
  const collector = await startCollector();
  onTestFinished(() => collector.stop());
  const files = [...Object.keys(FILES).map((name) => join(directory, name)), CONNECTION];
  const bridge = await startBridge(['replay', '--to', `collector=${collector.otlp_url}`, ...files], DELTA);
  const { status } = await bridge.ended;
  expect(status).toBe(0);
  return contentOf(await collector.stopAndRead());
}

/** Writes the files line by line, in turn; both are killed on the way, and started again. */
async function appendAll(pipeline: Pipeline): Promise<void> {
  const lines = Object.entries(FILES).flatMap(([name, all]) =>
    all.map((line, index) => ({ name, line, at: index / all.length })),
  );
  lines.sort((a, b) => a.at - b.at);
  const restarts: Promise<void>[] = [];
  const steps: [at: number, step: () => Promise<void>][] = [
    [0.25, () => pipeline.killBridge()],
    [0.4, () => pipeline.startBridge()],
    [0.65, () => pipeline.killCollector()],
    [0.8, () => pipeline.startCollector()],
  ];
  for (const { name, line, at } of lines) {
    const [due_at = 2, step] = steps[0] ?? [];
    if (at >= due_at && step !== undefined) {
      steps.shift();
      // In the order of the steps, while lines are written on.
      restarts.push((restarts.at(-1) ?? Promise.resolve()).then(step));
    }
    await appendFile(join(pipeline.events_directory, name), `${line}\n`);
    await sleep(LINE_INTERVAL_MS);
  }
  await Promise.all(restarts);
}

describe.skipIf(isSkipped('collector'))('a Collector, the bridge, and the Collector again', () => {
  beforeAll(validateExamples);

  test.each([
    ['protobuf, packed', { encoding: 'proto', compression: 'gzip' }],
    ['JSON', { encoding: 'json', compression: 'none' }],
  ] as const)('nothing is lost and nothing counts twice, by %s', async (_, transfer) => {
    const pipeline = await createPipeline(transfer);
    onTestFinished(() => pipeline.remove());
    await Promise.all([pipeline.startCollector(), pipeline.startBridge()]);
    await pipeline.write(readLines(CONNECTION));
    await pipeline.until(({ spans }) => spans.length >= 8);
    await appendAll(pipeline);
    const expected = await replayAll(pipeline.events_directory);
    const count = Object.keys(expected.spans).length;
    await pipeline.until(({ spans }) => new Set(spans.map(({ spanId }) => spanId)).size >= count);
    const { status, summary } = await pipeline.stopBridge();
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    expect(summary.source.rejected).toEqual({});
    console.log(JSON.stringify(summary.source));
    const actual = contentOf(await pipeline.received());
    expect(actual.spans).toEqual(expected.spans);
    expect(actual.logs).toEqual(expected.logs);
    expect(actual.sums).toEqual(expected.sums);
    expect(count).toBeGreaterThan(40);
  });
});
