/** Which position a gateway continues from if none is known under its address, and which has transcripts in its place. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { resolveSettings, type Settings } from '../../src/start/settings.js';
import { createSources } from '../../src/start/sources.js';
import { opened, temporaryDirectory, turns } from '../source/helpers.js';

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

test.each<[string, string, string[], boolean]>([
  ['the default gateway', 'ws://127.0.0.1:1', [], true],
  ['a gateway on another machine', 'ws://0.0.0.0:1', [], false],
  ['a named gateway', '', ['ws://127.0.0.1:1'], false],
  ['a gateway that is named with transcripts', '', ['ws://0.0.0.0:1', 'transcripts:'], true],
])(
  'whether transcripts are followed instead of %s that is not there',
  async (_name, url, names, is_followed) => {
    const root = temporaryDirectory();
    mkdirSync(join(root, 'agents/main/sessions'), { recursive: true });
    // Without a transcript there, the default is not to follow them.
    writeFileSync(join(root, 'agents/main/sessions/a.jsonl'), '');
    vi.stubEnv('OPENCLAW_STATE_DIR', root);
    vi.stubEnv('OPENCLAW_GATEWAY_URL', url);
    onTestFinished(() => void vi.unstubAllEnvs());
    const from = names.map((name) => (name === 'transcripts:' ? name + root : name));
    const settings = resolveSettings({ from, no_store: true }) as Settings;
    const created = createSources(settings, { origin: '--from', positions: {} });
    if ('error' in created) throw new Error(created.error);
    const [source, ...others] = created.sources;
    if (source === undefined) throw new Error('no source');
    expect(others).toEqual([]);
    const puller = await opened(source);
    expect(await puller.status('down')).toContain("can't be reached");
    if (is_followed) expect(await puller.status('up')).toMatch(/following OpenClaw's transcripts/);
    else await turns(100);
    await source.close();
    if (!is_followed) expect((await puller.rest()).filter(({ kind }) => kind === 'status')).toEqual([]);
  },
);
