import { describe, expect, it } from 'vitest';
import { createLiveTree } from '../../src/terminal/live.js';
import { printAbove } from '../../src/terminal/standing.js';
import { SETTLE_MS } from '../../src/terminal/trace-buffer.js';
import { createFakeClock, FakeStream, screenOf } from './fake-terminal.js';
import { emission, run, span, tool } from './spans.js';

function startLive(rows = 24) {
  const stream = Object.assign(new FakeStream(), { columns: 60, rows });
  const clock = createFakeClock();
  const live = createLiveTree({
    stream,
    columns: 80,
    color: false,
    unicode: true,
    interval_ms: 100,
    ...clock,
  });
  return { stream, clock, live, screen: () => screenOf(stream.text) };
}

const open = { end_ms: undefined };
const root = (name: string, end_ms?: number) => run(name, name, { trace_id: name, end_ms });

describe('createLiveTree', () => {
  it('draws open runs, and redraws them in place as time passes', () => {
    const { clock, live, screen } = startLive();
    live.accept(emission([], [root('main')]));
    clock.advance(0);
    expect(screen()).toEqual(['● main  agent:main:main    0 ms']);
    clock.advance(2400);
    expect(screen()).toEqual(['● main  agent:main:main   2.4 s']);
    live.accept(
      emission(
        [],
        [tool('t', 'exec', { trace_id: 'main', parent_span_id: 'main', start_ms: 2400, ...open })],
      ),
    );
    clock.advance(100);
    expect(screen()).toEqual([
      '● main  agent:main:main  1 tool   2.5 s',
      '└─ ● exec                        100 ms',
    ]);
  });

  it("measures open spans by the events' own times, even if those are long past", () => {
    const { clock, live, screen } = startLive();
    clock.advance(1_000_000_000);
    live.accept(emission([], [root('main')]));
    clock.advance(1500);
    expect(screen()).toEqual(['● main  agent:main:main   1.5 s']);
    live.accept(
      emission(
        [],
        [tool('t', 'exec', { trace_id: 'main', parent_span_id: 'main', start_ms: 60_000, ...open })],
      ),
    );
    clock.advance(200);
    expect(screen()).toEqual([
      '● main  agent:main:main  1 tool  1 m 00 s',
      '└─ ● exec                          200 ms',
    ]);
  });

  it('draws at most one frame per interval', () => {
    const { clock, live, stream } = startLive();
    live.accept(emission([], [root('main')]));
    clock.advance(0);
    const before = stream.writes;
    for (let index = 0; index < 1000; index += 1) {
      live.accept(
        emission([], [tool(`t${index}`, 'exec', { trace_id: 'main', parent_span_id: 'main', ...open })]),
      );
      clock.advance(1);
    }
    expect(stream.writes - before).toBeLessThanOrEqual(10);
    expect(stream.writes - before).toBeGreaterThan(5);
  });

  it('prints a complete trace above the others, once, and forgets it', () => {
    const { clock, live, screen } = startLive();
    live.accept(emission([], [root('one'), root('two')]));
    clock.advance(100);
    live.accept(emission([root('one', 90)]));
    clock.advance(SETTLE_MS - 1);
    expect(screen()[0]).toMatch(/^✓ one/);
    expect(screen()[1]).toMatch(/^● two/);
    clock.advance(200);
    live.accept(emission([root('two', 5200)]));
    clock.advance(2 * SETTLE_MS);
    expect(screen()).toEqual(['✓ one  agent:main:one   90 ms', '✓ two  agent:main:two   5.2 s']);
  });

  it('keeps lines that are printed above it whole, at whatever moment', () => {
    const { clock, live, stream, screen } = startLive();
    const say = (text: string) => printAbove(() => stream.write(`${text}\n`));
    say('before the first frame');
    live.accept(emission([], [root('main')]));
    clock.advance(0);
    say('between two frames');
    expect(screen()).toEqual([
      'before the first frame',
      'between two frames',
      '● main  agent:main:main    0 ms',
    ]);
    live.accept(emission([], [tool('t', 'exec', { trace_id: 'main', parent_span_id: 'main', ...open })]));
    clock.advance(500);
    say('over two rows');
    live.accept(
      emission([root('main', 600), tool('t', 'exec', { trace_id: 'main', parent_span_id: 'main' })]),
    );
    clock.advance(2 * SETTLE_MS);
    say('after the last frame');
    expect(screen().map((line) => line.split('  ')[0])).toEqual([
      'before the first frame',
      'between two frames',
      'over two rows',
      '✓ main',
      '└─ exec',
      'after the last frame',
    ]);
  });

  it('draws nothing when something is printed after it was closed', () => {
    const { clock, live, stream, screen } = startLive();
    live.accept(emission([], [root('main')]));
    clock.advance(0);
    live.close();
    const before = stream.writes;
    printAbove(() => stream.write('the end\n'));
    expect(stream.writes).toBe(before + 1);
    expect(screen()).toEqual(['● main  agent:main:main    0 ms', 'the end']);
  });

  it('keeps a trace that continues in another run', () => {
    const { clock, live, screen } = startLive();
    live.accept(emission([root('main', 100)]));
    clock.advance(SETTLE_MS - 1);
    const again = run('again', 'main', {
      trace_id: 'main',
      parent_span_id: 'main',
      start_ms: SETTLE_MS - 1,
      ...open,
    });
    live.accept(emission([], [again]));
    clock.advance(1001);
    expect(screen()).toEqual(['✓ main  agent:main:main  100 ms', '└─ ● ↻ continues          1.0 s']);
  });

  it('rests while nothing is open: no timer, no drawing', () => {
    const { clock, live, stream } = startLive();
    live.accept(emission([root('main', 100)]));
    clock.advance(10 * SETTLE_MS);
    const writes = stream.writes;
    clock.advance(1000 * SETTLE_MS);
    expect([clock.timer_count(), stream.writes]).toEqual([0, writes]);
  });

  it('shows the latest traces if there are more than fit', () => {
    const { clock, live, screen } = startLive(6);
    live.accept(
      emission(
        [],
        Array.from({ length: 15 }, (_, index) => root(`r${index}`)),
      ),
    );
    clock.advance(100);
    const [more, ...lines] = screen();
    expect(more).toBe('… 12 more traces');
    expect(lines.map((line) => line.slice(0, 5))).toEqual(['● r12', '● r13', '● r14']);
  });

  it('shows the beginning and the end of a trace that is too long for the terminal, and later prints all of it', () => {
    const { clock, live, screen } = startLive(10);
    const call = (index: number) =>
      tool(`t${index}`, `call-${index}`, { trace_id: 'main', parent_span_id: 'main', start_ms: index });
    const calls = Array.from({ length: 40 }, (_, index) => call(index));
    live.accept(emission(calls, [root('main')]));
    clock.advance(100);
    expect(screen()).toHaveLength(8);
    expect(screen().map((line) => line.split('  ')[0])).toEqual([
      '● main',
      '├─ call-0',
      '… 34 more lines',
      ...[35, 36, 37, 38].map((index) => `├─ call-${index}`),
      '└─ call-39',
    ]);
    live.accept(emission([root('main', 100)]));
    clock.advance(2 * SETTLE_MS);
    expect(screen()).toHaveLength(41);
  });

  it('takes a tenth of the time at most, however long a frame takes', () => {
    const { clock, stream } = startLive();
    const now = (): number => clock.now() + 50 * stream.writes;
    const settings = { columns: 80, color: false, unicode: true, interval_ms: 100 };
    const live = createLiveTree({ stream, ...settings, timers: clock.timers, now });
    live.accept(emission([], [root('main')]));
    clock.advance(9_000);
    expect(stream.writes).toBeGreaterThan(10);
    expect(stream.writes).toBeLessThan(25);
  });

  it('works without a known height or width', () => {
    const stream = new FakeStream();
    const clock = createFakeClock();
    const live = createLiveTree({
      stream,
      columns: 20,
      color: false,
      unicode: false,
      interval_ms: 100,
      ...clock,
    });
    live.accept(emission([], [span('run', 'a-name-too-long-for-the-line', open)]));
    clock.advance(0);
    expect(screenOf(stream.text)).toEqual(['* a-name-to~    0 ms']);
  });

  it('leaves everything on the screen when it is closed, and no timer', () => {
    const { clock, live, screen } = startLive();
    live.accept(emission([root('done', 100)], [root('open')]));
    clock.advance(1000);
    live.close();
    expect(screen()).toEqual(['✓ done  agent:main:done  100 ms', '● open  agent:main:open   1.0 s']);
    expect(clock.timer_count()).toBe(0);
  });
});
