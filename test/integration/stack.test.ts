/**
 * Everything in docker-compose.yml except Grafana, with its files and its command: what the bridge is fed arrives in the
 * backends, and what the Collector acknowledged survives its crash.
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { freePorts, removeDirectory, temporaryDirectory } from './backends.js';
import { EXAMPLE, isChat, parentsOf, replay, startBridge, sumOf, type TreeSpan, treeOf } from './bridge.js';
import { type ClawMetry, startClawMetry } from './clawmetry.js';
import { getJson, isAnswered } from './http.js';
import { type BackendName, EXECUTABLES, isSkipped } from './installed.js';
import { type Jaeger, startJaeger } from './jaeger.js';
import type { Prometheus } from './prometheus.js';
import {
  COLLECTOR_CONFIGURATION,
  composeBridgeCommand,
  feed,
  type ShippedCollector,
  startShippedCollector,
  startShippedPrometheus,
} from './stack.js';

const NEEDED: BackendName[] = ['clawmetry', 'jaeger', 'collector', 'prometheus'];
const NOWHERE = 'http://127.0.0.1:1';
const WAIT = { timeout: 60_000, interval: 250 };

test.skipIf(isSkipped('collector'))('otel-collector.yaml is valid', async () => {
  await promisify(execFile)(EXECUTABLES.collector, ['validate', '--config', COLLECTOR_CONFIGURATION]);
});

describe.skipIf(NEEDED.some(isSkipped))('the stack', () => {
  let clawmetry: ClawMetry;
  let jaeger: Jaeger;
  let collector: ShippedCollector;
  let prometheus: Prometheus;
  let expected: TreeSpan[];
  let trace_id: string;

  beforeAll(async () => {
    [clawmetry, jaeger, expected] = await Promise.all([startClawMetry(), startJaeger(), treeOf(EXAMPLE)]);
    trace_id = expected[0]?.trace_id ?? '';
    collector = await startShippedCollector({
      clawmetry_url: clawmetry.otlp_url,
      jaeger_url: jaeger.otlp_url,
    });
    prometheus = await startShippedPrometheus(collector);
    const [port = 0] = await freePorts(1);
    const bridge = await startBridge(await composeBridgeCommand(port, `collector=${collector.otlp_url}`));
    await bridge.said('accepts connections');
    await feed(port, [EXAMPLE]);
    await vi.waitFor(async () => expect(await jaeger.spans(trace_id)).toHaveLength(expected.length), WAIT);
    expect((await bridge.stop()).status).toBe(0);
  });
  afterAll(() => Promise.all([prometheus, collector, jaeger, clawmetry].map((each) => each?.stop())));

  test('reports that it is healthy', async () => {
    expect(await getJson(collector.health_url)).toMatchObject({ status: 'Server available' });
  });

  test('Jaeger has the tree', async () => {
    const spans = await jaeger.spans(trace_id);
    const parents = spans.map((span) => [
      span.spanID,
      span.references.find((each) => each.refType === 'CHILD_OF')?.spanID,
    ]);
    expect(Object.fromEntries(parents)).toEqual(parentsOf(expected));
  });

  test('ClawMetry has the same as from the bridge directly: the tree, tokens and cost once, the edges between agents', async () => {
    await vi.waitFor(
      async () => expect((await clawmetry.trace(trace_id)).spans).toHaveLength(expected.length),
      WAIT,
    );
    const row = (await clawmetry.traces()).find((each) => each.trace_id === trace_id);
    const total_tokens =
      sumOf(expected, 'gen_ai.usage.input_tokens') + sumOf(expected, 'gen_ai.usage.output_tokens');
    expect(row).toMatchObject({ source: 'spans', span_count: expected.length, total_tokens });
    expect(row?.total_cost_usd).toBeCloseTo(sumOf(expected, 'openclaw.cost_usd'), 9);
    const { edges } = await clawmetry.agentGraph();
    expect(edges.map(({ from, to }) => `${from} -> ${to}`).sort()).toEqual([
      'openclaw:Child B -> openclaw:Grandchild',
      'openclaw:main -> openclaw:Child A',
      'openclaw:main -> openclaw:Child B',
    ]);
  });

  test('ClawMetry gets only the logs of tool calls, and counts each model call once', async () => {
    const tool_logs = 20;
    await vi.waitFor(async () => {
      expect((await clawmetry.status()).intake.signals.logs.items).toMatchObject({
        received: tool_logs,
        rejected: 0,
      });
    }, WAIT);
    const calls = expected.filter(isChat).length;
    expect((await clawmetry.status()).counts).toMatchObject({ tokens: calls, cost: calls });
    expect((await clawmetry.status()).intake.signals.metrics.items.received).toBe(0);
  });

  test('the name of an agent or a tool does not make ClawMetry count its spans as runs or messages', async () => {
    const directory = await temporaryDirectory();
    onTestFinished(() => removeDirectory(directory));
    const recording = join(directory, 'names.ndjson');
    const run = { ts: 1, session_key: 'agent:runner:names', run_id: 'names' };
    const calls = ['message', 'truncate', 'exec'].flatMap((tool) => [
      { ...run, type: 'tool.call', call_id: tool, tool },
      { ...run, type: 'tool.output', call_id: tool },
    ]);
    const events = [
      { ...run, type: 'agent.started' },
      ...calls,
      { ...run, type: 'agent.finished', status: 'ok' },
    ];
    await writeFile(recording, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    const [root] = await treeOf(recording);
    const { counts: before } = await clawmetry.status();
    expect((await replay(`collector=${collector.otlp_url}`, recording)).status).toBe(0);
    const names = async (): Promise<string[]> =>
      (await clawmetry.trace(root?.trace_id ?? '')).spans.map(({ name }) => name).sort();
    await vi.waitFor(
      async () =>
        expect(await names()).toEqual(['execute_tool', 'execute_tool', 'execute_tool exec', 'invoke_agent']),
      WAIT,
    );
    expect((await clawmetry.status()).counts).toEqual(before);
  });

  test('Prometheus scrapes its targets, and has the reasoning tokens', async () => {
    await vi.waitFor(async () => {
      const up = await prometheus.query('up');
      expect(up.map(({ metric, value }) => [metric.job, value[1]]).sort()).toEqual([
        ['collector', '1'],
        ['openclaw', '1'],
      ]);
      const [reasoning] = await prometheus.query(
        'sum(gen_ai_client_inference_usage_reasoning_output_tokens_total)',
      );
      expect(Number(reasoning?.value[1])).toBe(28);
    }, WAIT);
  });
});

describe.skipIf((['jaeger', 'collector'] as const).some(isSkipped))('a Collector that is killed', () => {
  test('has what it acknowledged in its queue', async () => {
    const [expected, jaeger] = await Promise.all([treeOf(EXAMPLE), startJaeger()]);
    onTestFinished(() => jaeger.stop());
    const backends = { clawmetry_url: NOWHERE, jaeger_url: NOWHERE };
    const collector = await startShippedCollector(backends);
    onTestFinished(() => collector.stop());
    expect((await replay(`collector=${collector.otlp_url}`, EXAMPLE)).status).toBe(0);
    await collector.crash();
    expect(await isAnswered(collector.health_url)).toBe(false);
    backends.jaeger_url = jaeger.otlp_url;
    await collector.restart();
    await vi.waitFor(async () => {
      expect(await jaeger.spans(expected[0]?.trace_id ?? '')).toHaveLength(expected.length);
    }, WAIT);
  });
});
