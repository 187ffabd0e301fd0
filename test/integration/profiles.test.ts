/**
 * Real backends with other profiles and encodings than their presets': the old names, and an encoding that is not accepted.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { EXAMPLE, lawBreakers, replay, startBridge, sumOf, treeOf } from './bridge.js';
import { startClawMetry } from './clawmetry.js';
import { type OtlpDataPoint, pointsOf, startCollector } from './collector.js';
import { isSkipped } from './installed.js';

const SIGNALS = ['traces', 'metrics', 'logs'] as const;

/** A data point of a histogram, identified by its attributes. */
interface Point extends OtlpDataPoint {
  sum?: number;
  attributes: { key: string; value: { stringValue?: string } }[];
}

describe.skipIf(isSkipped('collector'))('a Collector with profile legacy', () => {
  test('has the tokens by type in one histogram, and reasoning tokens apart', async () => {
    const [collector, expected] = await Promise.all([startCollector(), treeOf(EXAMPLE)]);
    onTestFinished(() => collector.stop());
    const directory = await temporaryDirectory();
    onTestFinished(() => removeDirectory(directory));
    const config = join(directory, 'bridge.yaml');
    const to = [{ preset: 'collector', url: collector.otlp_url, profile: 'legacy', compression: 'gzip' }];
    await writeFile(config, JSON.stringify({ to }));
    const { status, summary } = await (await startBridge(['replay', '--config', config, EXAMPLE])).ended;
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    const { metrics, spans } = await collector.stopAndRead();
    const last = (name: string) => {
      const metric = metrics.findLast((each) => each.name === name);
      return metric === undefined ? [] : (pointsOf(metric) as Point[]);
    };
    const ofType = (type: string) =>
      last('gen_ai.client.token.usage')
        .filter(({ attributes }) => attributes.some(({ value }) => value.stringValue === type))
        .reduce((total, { sum = 0 }) => total + sum, 0);
    expect(ofType('input')).toBe(sumOf(expected, 'gen_ai.usage.input_tokens'));
    expect(ofType('output')).toBe(sumOf(expected, 'gen_ai.usage.output_tokens'));
    const reasoning = last('gen_ai.client.inference.usage.reasoning.output_tokens');
    expect(reasoning.reduce((total, { asInt }) => total + Number(asInt), 0)).toBe(
      sumOf(expected, 'gen_ai.usage.reasoning.output_tokens'),
    );
    expect(last('gen_ai.client.inference.usage.input_tokens')).toEqual([]);
    expect(spans).toHaveLength(27);
  });
});

describe.skipIf(isSkipped('clawmetry'))('a ClawMetry that is sent protobuf, which it does not accept', () => {
  test('gets everything in JSON', async () => {
    const clawmetry = await startClawMetry();
    onTestFinished(() => clawmetry.stop());
    const { status, summary } = await replay(`otlp=${clawmetry.otlp_url}`, EXAMPLE);
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    const { signals } = (await clawmetry.status()).intake;
    for (const signal of SIGNALS) {
      const { delivered } = summary.destinations.otlp?.[signal] ?? {};
      expect(signals[signal].items, signal).toMatchObject({ received: delivered, rejected: 0 });
    }
    const [root] = await treeOf(EXAMPLE);
    expect((await clawmetry.trace(root?.trace_id ?? '')).spans).toHaveLength(27);
  });
});
