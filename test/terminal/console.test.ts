import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type ConsoleOptions, createConsoleDestination, OUTPUT_CLOSED } from '../../src/terminal/console.js';
import { SETTLE_MS } from '../../src/terminal/trace-buffer.js';
import { createFakeClock, FakeStream } from './fake-terminal.js';
import { emission, request, run, tool } from './spans.js';

function start(options: Partial<ConsoleOptions> = {}) {
  const stream = new FakeStream();
  const clock = createFakeClock();
  const { now, timers } = clock;
  const destination = createConsoleDestination({
    stream,
    is_tty: false,
    columns: 80,
    color: true,
    now,
    timers,
    ...options,
  });
  return { stream, clock, destination };
}

const root = (name: string, end_ms?: number) => run(name, name, { trace_id: name, end_ms });

describe('the console destination, not on a terminal', () => {
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
    const { stream, clock, destination } = start({ is_tty: true });
    destination.accept(emission([], [root('main')]));
    clock.advance(100);
    expect(stream.text).toContain('main');
    expect(stream.text).toContain('\x1b[33m●\x1b[39m');
    await destination.close();
  });

  it('counts a span when it has ended, as delivered; an open one not', async () => {
    const { destination } = start();
    destination.accept(emission([root('a', 5)], [root('b')]));
    destination.accept(emission([root('b', 9)]));
    await destination.collectMetrics();
    await destination.idle();
    expect(destination.pending()).toBe(0);
    expect(destination.summary()).toEqual({
      traces: { produced: 2, delivered: 2, pending: 0, rejected: {}, dropped: {} },
    });
  });

  it('survives a reader that goes away, and counts what it can no longer show', async () => {
    const { stream, clock, destination } = start();
    stream.fault = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    destination.accept(emission([root('a', 5)]));
    const failed = once(stream, 'error').catch(() => {});
    clock.advance(SETTLE_MS);
    await failed;
    destination.accept(emission([root('b', 9), root('c', 9)]));
    expect(destination.summary().traces).toEqual({
      produced: 3,
      delivered: 1,
      pending: 0,
      rejected: {},
      dropped: { [OUTPUT_CLOSED]: 2 },
    });
    await destination.close();
    expect(clock.timer_count()).toBe(0);
  });
});
