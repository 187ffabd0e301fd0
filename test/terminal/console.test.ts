import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { MetricTotals } from '../../src/model/telemetry.js';
import { type ConsoleOptions, createConsoleDestination, OUTPUT_CLOSED } from '../../src/terminal/console.js';
import { SETTLE_MS } from '../../src/terminal/trace-buffer.js';
import { createFakeClock, FakeStream, screenOf } from './fake-terminal.js';
import { emission, log, request, run, tool } from './spans.js';

const NOTHING: MetricTotals = { points: 0, totals: new Map() };

function start(options: Partial<ConsoleOptions> = {}) {
  const stream = new FakeStream();
  const clock = createFakeClock();
  const { now, timers } = clock;
  const destination = createConsoleDestination({
    stream,
    is_live: false,
    columns: 80,
    color: true,
    collectMetrics: () => Promise.resolve(NOTHING),
    now,
    timers,
    ...options,
  });
  return { stream, clock, destination };
}

const TOTALS: MetricTotals = {
  points: 12,
  totals: new Map([
    ['gen_ai.client.inference.usage.input_tokens', 16_370],
    ['gen_ai.client.inference.usage.cache_read.input_tokens', 13_300],
    ['gen_ai.client.inference.usage.output_tokens', 359],
    ['gen_ai.client.inference.usage.reasoning.output_tokens', 28],
    ['openclaw.cost', 0.0059],
    ['gen_ai.client.inference.duration', 14],
    ['gen_ai.execute_tool.duration', 1],
    ['gen_ai.invoke_agent.duration', 6],
    ['openclaw_otel_bridge.events', 60],
  ]),
};
const LOGS = ['tool_call', 'tool_result', 'llm_tokens', 'tool_call'].map(log);

const root = (name: string, end_ms?: number) => run(name, name, { trace_id: name, end_ms });

describe('the console destination without a terminal', () => {
  it('prints a trace once, when it is complete, without escape codes', () => {
    const { stream, clock, destination } = start();
    destination.accept(emission([], [root('main')]));
    destination.accept(
      emission([tool('t', 'exec', { trace_id: 'main', parent_span_id: 'main', error: { type: 'timeout' } })]),
    );
    clock.advance(SETTLE_MS);
    expect(stream.text).toBe('');
    destination.accept(emission([root('main', SETTLE_MS)]));
    clock.advance(SETTLE_MS);
    expect(stream.lines()).toEqual([
      '✓ main  agent:main:main  1 error  1 tool   5.0 s',
      '└─ ✗ exec  timeout                        100 ms',
    ]);
    clock.advance(10 * SETTLE_MS);
    expect(stream.lines()).toHaveLength(2);
    expect(stream.text).not.toContain('\x1b');
    expect(clock.timer_count()).toBe(0);
  });

  it('prints the rest when it is closed', async () => {
    const { stream, clock, destination } = start({ unicode: false });
    destination.accept(emission(request()));
    destination.accept(emission([], [root('open')]));
    expect(stream.text).toBe('');
    await destination.close();
    expect(stream.lines()).toHaveLength(1 + request().length + 1);
    expect(stream.text).toContain('* open');
    expect(clock.timer_count()).toBe(0);
    await destination.close();
    expect(stream.lines()).toHaveLength(1 + request().length + 1);
  });
});

describe('the console destination', () => {
  it('draws live on a terminal', async () => {
    const { stream, clock, destination } = start({ is_live: true });
    destination.accept(emission([], [root('main')]));
    clock.advance(100);
    expect(stream.text).toContain('main');
    expect(stream.text).toContain('\x1b[33m●\x1b[39m');
    await destination.close();
  });

  it('counts a span when it ends, a log record when it is accepted, and data points when they are collected', async () => {
    const collections = [3, 4];
    const { destination } = start({
      collectMetrics: () => Promise.resolve({ ...NOTHING, points: collections.shift() ?? 0 }),
    });
    destination.accept({ ...emission([root('a', 5)], [root('b')]), logs: [log('tool_call')] });
    destination.accept({ ...emission([root('b', 9)]), logs: [log('tool_call'), log('tool_result')] });
    await destination.collectMetrics();
    await destination.collectMetrics();
    await destination.idle();
    expect(destination.pending()).toBe(0);
    const all = (count: number) => ({
      produced: count,
      delivered: count,
      pending: 0,
      rejected: {},
      dropped: {},
    });
    expect(destination.summary()).toEqual({ traces: all(2), metrics: all(7), logs: all(3) });
  });

  it('survives a closed output, and counts what it can no longer show', async () => {
    const { stream, clock, destination } = start({
      collectMetrics: () => Promise.resolve({ ...TOTALS, points: 4 }),
    });
    stream.fault = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    destination.accept({ ...emission([root('a', 5)]), logs: [log('tool_call')] });
    await destination.collectMetrics();
    const failed = once(stream, 'error').catch(() => {});
    clock.advance(SETTLE_MS);
    await failed;
    destination.accept({ ...emission([root('b', 9), root('c', 9)]), logs: [log('tool_call')] });
    await destination.collectMetrics();
    const counts = (delivered: number, lost: number) => ({
      produced: delivered + lost,
      delivered,
      pending: 0,
      rejected: {},
      dropped: { [OUTPUT_CLOSED]: lost },
    });
    expect(destination.summary()).toEqual({
      traces: counts(1, 2),
      metrics: counts(4, 4),
      logs: counts(1, 1),
    });
    const { writes } = stream;
    await destination.close();
    expect(stream.writes).toBe(writes);
    expect(clock.timer_count()).toBe(0);
  });

  it('draws no more once its output is closed', async () => {
    const { stream, clock, destination } = start({ is_live: true });
    stream.fault = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    const failed = once(stream, 'error').catch(() => {});
    destination.accept(emission([], [root('main')]));
    clock.advance(100);
    await failed;
    const { writes } = stream;
    clock.advance(10 * SETTLE_MS);
    expect([clock.timer_count(), stream.writes]).toEqual([0, writes]);
    await destination.close();
  });

  it('leaves a single listener on its stream, however many consoles used it', async () => {
    const { stream } = start();
    const consoles = Array.from({ length: 20 }, () => start({ stream }).destination);
    for (const console of consoles.slice(1)) await console.close();
    expect(stream.listenerCount('error')).toBe(1);
    stream.emit('error', new Error('write EPIPE'));
    consoles[0]?.accept(emission([root('a', 5)]));
    expect(consoles[0]?.summary().traces?.dropped).toEqual({ [OUTPUT_CLOSED]: 1 });
    await consoles[0]?.close();
    // The last write may fail later.
    stream.emit('error', new Error('write EPIPE'));
  });

  it('sums up metrics and logs below the trees when it is closed', async () => {
    const { stream, destination } = start({ collectMetrics: () => Promise.resolve(TOTALS) });
    destination.accept({ ...emission([root('main', 5)]), logs: LOGS });
    await destination.collectMetrics();
    expect(stream.text).toBe('');
    await destination.close();
    await destination.close();
    expect(stream.lines()).toEqual([
      '✓ main  agent:main:main    5 ms',
      '',
      'metrics  16.4k input tokens (81% cached) · 359 output, 28 of them reasoning',
      '         $0.0059 · 14 model calls · 1 tool call · 6 runs',
      'logs     4 records: 2 tool_call, 1 tool_result, 1 llm_tokens',
    ]);
  });

  it('sums up metrics and logs on a terminal too, below the last frame of the tree', async () => {
    const stream = Object.assign(new FakeStream(), { columns: 40 });
    const { clock, destination } = start({
      stream,
      is_live: true,
      collectMetrics: () => Promise.resolve(TOTALS),
    });
    destination.accept({ ...emission([], [root('main')]), logs: LOGS });
    clock.advance(100);
    await destination.collectMetrics();
    await destination.close();
    for (const label of ['metrics', 'logs   ']) expect(stream.text).toContain(`\n\x1b[2m${label}  `);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are no part of the picture.
    const screen = screenOf(stream.text.replace(/\x1b\[[\d;]*m/g, ''));
    expect(screen[0]).toMatch(/^● main/);
    expect(screen.slice(1)).toEqual([
      '',
      'metrics  16.4k input tokens (81% cached)',
      '         359 output, 28 of them reasoni…',
      'logs     4 records: 2 tool_call,',
      '         1 tool_result, 1 llm_tokens',
    ]);
  });

  it('leaves out empty sums', async () => {
    const { stream, destination } = start();
    destination.accept(emission([root('main', 5)]));
    await destination.collectMetrics();
    await destination.close();
    expect(stream.lines()).toEqual(['✓ main  agent:main:main    5 ms']);
  });
});
