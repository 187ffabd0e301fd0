import { expect, test } from 'vitest';
import { createMetrics } from '../../src/export/metrics.js';
import { createTotalsReader } from '../../src/export/totals.js';
import type { InstrumentName, Measurement } from '../../src/model/telemetry.js';

const measured = (instrument: InstrumentName, value: number, model: string): Measurement => ({
  instrument,
  value,
  attributes: { 'gen_ai.request.model': model },
});

const OUTPUT = 'gen_ai.client.inference.usage.output_tokens';
const DURATION = 'gen_ai.client.inference.duration';
/** The bridge's own counter of events is in each collection. */
const OWN_POINTS = 1;

test('sums counters and counts histogram values; each series is a data point', async () => {
  const { reader, collect } = createTotalsReader();
  const { record } = createMetrics([reader], () => ({
    source: { events: 9, rejected: {} },
    destinations: {},
  }));
  expect(await collect()).toMatchObject({ points: OWN_POINTS });
  record([
    measured(OUTPUT, 100, 'opus'),
    measured(OUTPUT, 20, 'opus'),
    measured(OUTPUT, 3, 'haiku'),
    measured(DURATION, 12.5, 'opus'),
    measured(DURATION, 0.5, 'opus'),
  ]);
  const { points, totals } = await collect();
  expect(points).toBe(OWN_POINTS + 3);
  expect(Object.fromEntries(totals)).toMatchObject({ [OUTPUT]: 123, [DURATION]: 2 });
  record([measured(OUTPUT, 1, 'opus')]);
  expect((await collect()).totals.get(OUTPUT)).toBe(124);
});
