/** What the destinations of a start share. */
import { expect, onTestFinished, test } from 'vitest';
import { chooseDestinations, openChosen } from '../../src/start/destinations.js';
import { resolveSettings } from '../../src/start/settings.js';
import { fakeLogger } from '../export/fakes.js';
import { emission, run } from '../terminal/spans.js';

/** How many of 80 spans of 8 KB each destination drops while none can be reached. */
async function droppedBy(...names: string[]): Promise<(number | undefined)[]> {
  const settings = resolveSettings({ to: names.map((name) => `${name}:jaeger=http://127.0.0.1:1`) });
  if ('error' in settings) throw new Error(settings.error);
  const chosen = await chooseDestinations(settings);
  if ('error' in chosen) throw new Error(chosen.error);
  const limits = { ...settings.limits, memory_mb: 1 };
  const opened = openChosen(chosen, { ...settings, limits }, fakeLogger());
  if ('error' in opened) throw new Error(opened.error);
  const { destinations } = opened;
  onTestFinished(async () => void (await Promise.all(destinations.map((each) => each.close()))));
  const spans = Array.from({ length: 80 }, (_, index) => {
    const span_id = index.toString(16).padStart(16, '0');
    return run(span_id, 'main', {}, { 'gen_ai.output.messages': 'x'.repeat(8_000) });
  });
  for (const each of destinations) each.accept(emission(spans));
  return destinations.map((each) => each.summary().traces?.dropped.memory_full);
}

test('all destinations together keep to the memory limit', async () => {
  expect(await droppedBy('a')).toEqual([undefined]);
  expect(await droppedBy('a', 'b')).toEqual([expect.any(Number), expect.any(Number)]);
});
