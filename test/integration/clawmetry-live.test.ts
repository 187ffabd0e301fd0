/** Live events in a real ClawMetry: open spans are shown, and bad data holds up nothing. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { traceId } from '../oracle.js';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { lawBreakers, replay, startBridge } from './bridge.js';
import { type ClawMetry, startClawMetry } from './clawmetry.js';
import { isSkipped } from './installed.js';

const SESSION_KEY = 'agent:main:live';

interface Run {
  trace_id: string;
  /** A line of the event catalog for this run, with the current time. */
  line(event: Record<string, unknown>): string;
}

function newRun(): Run {
  const run_id = randomUUID();
  const session_id = randomUUID();
  return {
    trace_id: traceId(SESSION_KEY, run_id),
    line: (event) =>
      `${JSON.stringify({ ts: Date.now(), session_key: SESSION_KEY, run_id, session_id, agent_id: 'main', ...event })}\n`,
  };
}

describe.skipIf(isSkipped('clawmetry'))('ClawMetry, live:', () => {
  let clawmetry: ClawMetry;
  let to: string;
  let directory: string;

  beforeAll(async () => {
    [clawmetry, directory] = await Promise.all([startClawMetry(), temporaryDirectory()]);
    to = `clawmetry=${clawmetry.otlp_url}`;
  });
  afterAll(async () => {
    await clawmetry?.stop();
    await removeDirectory(directory);
  });

  /** Resolves when the trace is shown with these spans, each open or ended with this status. */
  const untilShown = (trace_id: string, states: Record<string, string>): Promise<void> =>
    vi.waitFor(
      async () => {
        const { spans } = await clawmetry.trace(trace_id);
        const shown = spans.map(({ name, duration_ms, status }) => [
          name,
          duration_ms === 0 ? 'open' : status,
        ]);
        expect(Object.fromEntries(shown)).toEqual(states);
      },
      { timeout: 20_000 },
    );

  test('a tool call is shown before it ends, and then its end', async () => {
    const path = join(directory, 'events.sock');
    const bridge = await startBridge(['run', '--no-store', '--from', `listen:unix:${path}`, '--to', to]);
    onTestFinished(async () => void (await bridge.stop()));
    await bridge.said('following');
    const socket = connect(path);
    await once(socket, 'connect');
    const { trace_id, line } = newRun();
    socket.write(line({ type: 'agent.started' }));
    socket.write(line({ type: 'tool.call', call_id: 'call-1', tool: 'exec' }));
    await untilShown(trace_id, { 'invoke_agent main': 'open', 'execute_tool exec': 'open' });
    socket.write(
      line({ type: 'tool.error', call_id: 'call-1', error: { type: 'not_found', message: 'no file' } }),
    );
    await untilShown(trace_id, { 'invoke_agent main': 'open', 'execute_tool exec': 'error' });
    socket.end(line({ type: 'agent.finished', status: 'ok' }));
    await untilShown(trace_id, { 'invoke_agent main': 'ok', 'execute_tool exec': 'error' });
    const { status, summary } = await bridge.stop();
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    expect(summary.destinations.clawmetry?.traces).toMatchObject({ produced: 2, delivered: 2 });
  });

  test.each([
    ['a lone surrogate', '\ud800'],
    ['a NUL', '\0'],
  ])('%s in a tool call holds up nothing after it', async (_, bad) => {
    const [strange, usual] = [newRun(), newRun()];
    const recording = join(directory, 'strange.ndjson');
    const lines = [
      strange.line({ type: 'agent.started' }),
      strange.line({
        type: 'tool.call',
        call_id: `call-${bad}`,
        tool: `exec${bad}`,
        input: { command: bad },
      }),
      strange.line({ type: 'tool.output', call_id: `call-${bad}`, output: `before${bad}after` }),
      strange.line({ type: 'agent.finished', status: 'error', error: { message: `because${bad}` } }),
      usual.line({ type: 'agent.started' }),
      usual.line({ type: 'tool.call', call_id: 'call-1', tool: 'read' }),
      usual.line({ type: 'tool.output', call_id: 'call-1', output: 'well' }),
      usual.line({ type: 'agent.finished', status: 'ok' }),
    ];
    await writeFile(recording, lines.join(''));
    const { status, summary } = await replay(to, recording, { args: ['--content'] });
    expect(summary.source.rejected).toEqual({});
    expect(summary.destinations.clawmetry?.traces).toMatchObject({ produced: 4, delivered: 4 });
    expect(summary.destinations.clawmetry?.logs).toMatchObject({ produced: 4, delivered: 4 });
    expect(status).toBe(0);
    expect((await clawmetry.trace(strange.trace_id)).spans).toHaveLength(2);
    expect((await clawmetry.trace(usual.trace_id)).spans).toHaveLength(2);
    const { traces, logs } = (await clawmetry.status()).intake.signals;
    for (const { items } of [traces, logs]) expect(items).toMatchObject({ rejected: 0, retry_requested: 0 });
  });
});
