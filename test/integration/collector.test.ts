/** A real Collector that starts after the bridge. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePorts } from './backends.js';
import { EXAMPLE, lawBreakers, parentsOf, startBridge, treeOf } from './bridge.js';
import { startCollector } from './collector.js';
import { isSkipped } from './installed.js';

describe.skipIf(isSkipped('collector'))('a Collector that is not running yet', () => {
  test('gets everything once it is running', async () => {
    const [port] = await freePorts(1);
    const to = `collector=http://127.0.0.1:${port}`;
    const bridge = await startBridge(['replay', '--rebase-time', '--to', to, EXAMPLE]);
    onTestFinished(async () => void (await bridge.stop()));
    await bridge.said('does not accept data');
    const collector = await startCollector(port);
    onTestFinished(() => collector.stop());
    const { status, summary } = await bridge.ended;
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    const { spans, logs } = await collector.stopAndRead();
    const parents = spans.map((span) => [span.spanId, span.parentSpanId || undefined]);
    expect(Object.fromEntries(parents)).toEqual(parentsOf(await treeOf(EXAMPLE)));
    expect(spans).toHaveLength(27);
    expect(logs).toHaveLength(summary.destinations.collector?.logs?.produced ?? 0);
  });
});
