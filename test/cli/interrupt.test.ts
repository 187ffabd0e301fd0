/** Signals that arrive while a command is starting. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../src/cli.js';
import type { Summary } from '../../src/summary.js';
import { temporaryDirectory, temporaryFile } from './program.js';
import { startSink } from './sink.js';
import { STORY_LINES } from './story.js';

/** Runs a command that is told to stop before it begins. */
async function runStopped(...args: string[]): Promise<{ status: number; summary: Summary }> {
  const path = join(temporaryDirectory(), 'summary.json');
  const { url } = await startSink();
  const shared = ['--to', `otlp=${url}`, '--summary', path, '--log-level', 'silent'];
  const { status } = await runCli([...args, ...shared], { onInterrupt: (stop) => stop() });
  return { status, summary: JSON.parse(readFileSync(path, 'utf8')) };
}

describe('a command that is stopped before it begins', () => {
  const file = temporaryFile('story.ndjson', STORY_LINES);

  test.each([
    ['run', ['run', '--no-store', '--from', `file:${file}`]],
    ['run with a store', ['run', '--data-dir', temporaryDirectory(), '--from', `file:${file}`]],
    ['replay', ['replay', file]],
    ['replay --rebase-time', ['replay', file, '--rebase-time']],
  ])('%s reads nothing, and writes its summary', async (_name, args) => {
    const { status, summary } = await runStopped(...args);
    expect(status).toBe(0);
    expect(summary).toMatchObject({
      source: { lines: 0 },
      destinations: { otlp: { traces: { produced: 0 } } },
    });
  });

  test('the interrupt handler is registered before anything is opened', async () => {
    const calls: string[] = [];
    await runCli(['run', '--from', 'nonsense'], { onInterrupt: () => calls.push('told') });
    expect(calls).toEqual(['told']);
  });
});
