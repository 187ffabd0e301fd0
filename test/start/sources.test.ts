/** Which position a gateway continues from if none is known under its address. */
import { expect, test } from 'vitest';
import { resolveSettings, type Settings } from '../../src/start/settings.js';
import { createSources } from '../../src/start/sources.js';

const at = (seen_ms: number): object => ({ seen_ms, first_ms: 0, open_runs: {} });

/** The instant up to which the gateway at this address counts as seen at a start from these positions. */
function seenAt(url: string, left: Record<string, number>, others: string[] = []): number | undefined {
  const positions = Object.fromEntries(
    Object.entries(left).map(([name, seen_ms]) => [name, { [name]: at(seen_ms) }]),
  );
  const settings = resolveSettings({ from: [url, ...others], no_store: true }) as Settings;
  createSources(settings, { origin: '--from', positions });
  return (positions[url]?.[url] as { seen_ms: number } | undefined)?.seen_ms;
}

test('a gateway on another port of its machine continues where it was followed last', () => {
  const left = { 'ws://127.0.0.1:1': 10, 'ws://localhost:2': 30, 'ws://127.0.0.1:3': 20, 'ws://far:1': 40 };
  expect(seenAt('ws://127.0.0.1:4', left)).toBe(30);
  expect(seenAt('wss://far:2', left)).toBe(40);
});

test('a gateway that was followed under its address continues from there', () => {
  expect(seenAt('ws://127.0.0.1:1', { 'ws://127.0.0.1:1': 10, 'ws://127.0.0.1:2': 20 })).toBe(10);
});

test('a gateway on another machine begins anew, and so does one of several', () => {
  expect(seenAt('ws://near:1', { 'ws://far:1': 10, 'ws://127.0.0.1:1': 20 })).toBeUndefined();
  expect(seenAt('ws://127.0.0.1:2', { 'ws://127.0.0.1:1': 10 }, ['ws://far:1'])).toBeUndefined();
});
