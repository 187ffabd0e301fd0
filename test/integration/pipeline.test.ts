/**
 * The bridge as a stage in a Collector's pipeline: lines from files and a connection go through a real Collector to the
 * bridge, and spans, metrics and log records back to it, while both are killed. The result must equal a replay of the same
 * lines, with each increment of a metric once.
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

/** An event without ids: only its complete content identifies it. */
const anonymous = (event: object): string =>
  JSON.stringify({ ...event, event_id: undefined, seq: undefined, response_id: undefined });

/** Recorded frames of the gateway and events of the catalog, by file name. */
const FILES: Record<string, string[]> = {
  'frames.ndjson': readLines(example('sub-agents.ndjson')),
  'events.ndjson': decodeFile(example('tools.ndjson')).map((event) => JSON.stringify(event)),
  'anonymous.ndjson': decodeFile(fixture('gateway/spawn.ndjson')).map(anonymous),
};
/** The recording that is sent over a connection. */
const CONNECTION = example('catalog.ndjson');

const LINE_INTERVAL_MS = 10;

/** The items by their keys; copies of an item must be equal. */
function unique<T>(all: T[], keyOf: (each: T) => string): Record<string, T> {
  const found: Record<string, T> = {};
  for (const each of all) {
    const key = keyOf(each);
    if (found[key] !== undefined) expect(each).toEqual(found[key]);
    found[key] = each;
  }
  return found;
}

/** The time of observation may differ between copies. */
const withoutObserved = ({ observedTimeUnixNano: _, ...record }: OtlpLogRecord) => record;

function sumsOf(metrics: OtlpMetric[]): Record<string, number> {
  const sums: Record<string, number> = {};
  const seen = new Set<string>();
  const add = (key: string, value: number): void => {
    sums[key] = Number(((sums[key] ?? 0) + value).toFixed(6));
  };
  const addPoint = (name: string, { startTimeUnixNano, timeUnixNano, ...point }: OtlpDataPoint): void => {
    const key = `${name} ${JSON.stringify(point.attributes)}`;
    // A repeated request is identical, including its times.
    const id = `${key} ${startTimeUnixNano} ${timeUnixNano}`;
    if (seen.has(id)) return;
    seen.add(id);
    add(key, Number(point.asInt ?? point.asDouble ?? point.sum ?? 0));
    if (point.count !== undefined) add(`${key} count`, Number(point.count));
  };
  for (const metric of metrics) {
    // The bridge's own metrics describe a single process.
    if (metric.name.startsWith('openclaw_otel_bridge.')) continue;
    for (const point of pointsOf(metric)) addPoint(metric.name, point);
  }
  return sums;
}

/** What has to be equal in the data that two backends received. */
const contentOf = ({ spans, metrics, logs }: Received) => ({
  spans: unique(spans, ({ spanId }) => spanId),
  logs: unique(logs.map(withoutObserved), (record) => JSON.stringify(record)),
  sums: sumsOf(metrics),
});

async function replayAll(directory: string): Promise<ReturnType<typeof contentOf>> {
  const collector = await startCollector();
  onTestFinished(() => collector.stop());
  const written = [...Object.keys(FILES), 'marker.ndjson'].map((name) => join(directory, name));
  const files = [...written, CONNECTION];
  const bridge = await startBridge(['replay', '--to', `collector=${collector.otlp_url}`, ...files], DELTA);
  const { status } = await bridge.ended;
  expect(status).toBe(0);
  return contentOf(await collector.stopAndRead());
}

/** Writes a separate run, and waits for it: everything read before it has arrived then. */
async function passThrough(pipeline: Pipeline): Promise<void> {
  const run = { session_key: 'agent:main:marker', run_id: 'marker', ts: '2026-11-22T12:00:00Z' };
  const lines = [
    { type: 'agent.started', ...run },
    { type: 'agent.finished', ...run, status: 'ok' },
  ];
  await appendFile(
    join(pipeline.events_directory, 'marker.ndjson'),
    lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  await pipeline.until(({ logs }) =>
    logs.some((record) => JSON.stringify(record).includes('agent:main:marker')),
  );
}

interface Line {
  file: string;
  text: string;
}

/** The lines of all files, interleaved. */
const interleaved = (): Line[] =>
  Object.entries(FILES)
    .flatMap(([file, texts]) => texts.map((text, index) => ({ file, text, at: index / texts.length })))
    .sort((a, b) => a.at - b.at);

/** Writes lines one by one while other things happen. */
async function appendLines({ events_directory }: Pipeline, lines: Line[]): Promise<void> {
  for (const { file, text } of lines) {
    await appendFile(join(events_directory, file), `${text}\n`);
    await sleep(LINE_INTERVAL_MS);
  }
}

/** Kills and restarts the bridge and then the Collector while lines are written. */
async function appendAll(pipeline: Pipeline): Promise<void> {
  const lines = interleaved();
  const part = (from: number, to: number): Promise<void> =>
    appendLines(pipeline, lines.slice(from * lines.length, to * lines.length));
  await part(0, 0.25);
  await Promise.all([pipeline.killBridge(), part(0.25, 0.4)]);
  await Promise.all([pipeline.startBridge(), part(0.4, 0.6)]);
  // A killed Collector puts the request that it was sending behind the queued ones, so nothing may be queued then.
  await passThrough(pipeline);
  await Promise.all([pipeline.killCollector(), part(0.6, 0.8)]);
  await Promise.all([pipeline.startCollector(), part(0.8, 1)]);
}

describe.skipIf(isSkipped('collector'))('a Collector, the bridge, and the Collector again', () => {
  beforeAll(validateExamples);

  test.each([
    ['protobuf, packed', { encoding: 'proto', compression: 'gzip' }],
    ['JSON', { encoding: 'json', compression: 'none' }],
  ] as const)('nothing is lost and nothing counts twice, with %s', async (_, transfer) => {
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
    // Requests whose response was lost, and lines that a killed Collector had not noted as read.
    expect(summary.source.ignored.repeated).toBeGreaterThan(0);
    const actual = contentOf(await pipeline.received());
    expect(actual.spans).toEqual(expected.spans);
    expect(actual.logs).toEqual(expected.logs);
    expect(actual.sums).toEqual(expected.sums);
    expect(count).toBeGreaterThan(40);
  });
});
