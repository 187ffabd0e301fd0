import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RenderOptions, renderForest } from '../../src/terminal/render.js';
import { textWidth } from '../../src/terminal/text.js';
import { buildForest } from '../../src/terminal/tree.js';
import { chat, request, run, tool } from './spans.js';

const draw = (spans: Parameters<typeof buildForest>[0], options: Partial<RenderOptions> = {}): string[] =>
  renderForest(buildForest(spans), { columns: 120, color: false, ...options });

describe('renderForest', () => {
  it('draws a complete request', () => {
    expect(draw(request(), { columns: 100 }).join('\n')).toBe(GOLDEN_100);
  });

  it('on a narrow terminal leaves out cost, then the cached share, then reasoning, then tokens', () => {
    const titles = (columns: number): string | undefined => draw(request(), { columns })[0]?.trim();
    expect(titles(100)).toMatch(/^time +tokens in → out +reasoning +cached +cost$/);
    expect(titles(90)).toMatch(/^time +tokens in → out +reasoning +cached$/);
    expect(titles(80)).toMatch(/^time +tokens in → out +reasoning$/);
    expect(titles(60)).toMatch(/^time +tokens in → out$/);
    expect(draw(request(), { columns: 40 }).join('\n')).toBe(GOLDEN_40);
  });

  it('never draws a line wider than the terminal', () => {
    const name = fc.string({ unit: 'binary', maxLength: 60 });
    const names = fc.array(fc.tuple(name, name, fc.nat(30)), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 140 }), fc.boolean(), (list, columns, unicode) => {
        const spans = list.map(([agent, session_key, parent], index) =>
          run(
            `s${index}`,
            agent,
            { parent_span_id: `s${parent}`, start_ms: index, error: { type: agent } },
            {
              'openclaw.session.key': session_key,
            },
          ),
        );
        const tokens = chat('c', { parent_span_id: 's0' }, [123_456, 1000, 12_345, 999], 12.5);
        for (const line of draw([...spans, tokens], { columns, unicode })) {
          expect(textWidth(line)).toBeLessThanOrEqual(columns);
        }
      }),
    );
  });

  it('removes escape sequences from names', () => {
    const evil = '\x1b]0;title\x07\x1b[2Jev\x9b1mil\r\n\u202ename';
    const spans = [
      run('r', evil, { error: { type: evil } }, { 'openclaw.session.key': evil }),
      tool('t', evil, { parent_span_id: 'r' }),
      tool('n', '', { parent_span_id: 'r', name: evil }),
    ];
    const lines = draw(spans);
    expect(lines.join('')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(lines[0]).toContain('evil name');
  });

  it('has the same text in colour, and failures in red', () => {
    const plain = draw(request());
    const painted = draw(request(), { color: true });
    expect(painted.map((line) => stripVTControlCharacters(line))).toEqual(plain);
    expect(painted.find((line) => line.includes('exit 7'))).toContain('\x1b[31mexit 7\x1b[39m');
    expect(plain.join('')).not.toContain('\x1b');
  });

  it('draws in ASCII if the terminal shows nothing else', () => {
    const lines = draw(request(), { unicode: false });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the whole of ASCII is meant.
    expect(lines.join('')).toMatch(/^[\x00-\x7f]*$/);
    expect(lines.some((line) => line.includes('`- + @ continues'))).toBe(true);
  });

  it('measures an open span up to now, and shows no duration if it does not know the time', () => {
    const open = [run('r', 'main', { start_ms: 1000, end_ms: undefined })];
    expect(draw(open, { now_ms: 3400 })).toEqual(['● main  agent:main:main   2.4 s']);
    expect(draw(open)).toEqual(['● main  agent:main:main']);
  });

  it('shows the session key only for roots, and shortens it before anything else', () => {
    const spans = [run('r', 'main'), tool('t', 'x'.repeat(30), { parent_span_id: 'r' })];
    expect(draw(spans, { columns: 42 })).toEqual([
      '✓ main  agent:main:main  1 tool    100 ms',
      '└─ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  100 ms',
    ]);
    expect(draw(spans, { columns: 36 })[0]).toBe('✓ main  agent:main:…  1 tool  100 ms');
    expect(draw(spans, { columns: 26 })[0]).toBe('✓ main  1 tool      100 ms');
  });

  it('calls a run a continuation if it is below a run of its session or links to runs that it reports on', () => {
    const links = [{ trace_id: 'f'.repeat(32), span_id: 'gone' }];
    const lines = draw([
      run('r', 'main'),
      run('n', 'main', { parent_span_id: 'r', start_ms: 1 }),
      run('c', 'child', { parent_span_id: 'r', start_ms: 2 }),
      run('o', 'orphan', { links, start_ms: 3 }),
    ]);
    expect(lines.map((line) => line.split('  ')[0]?.trim() || line)).toEqual([
      '✓ main',
      '├─ ✓ ↻ continues',
      '└─ ✓ child',
      '✓ ↻ orphan continues',
    ]);
  });

  it('marks a run that may be incomplete', () => {
    const flags = { 'openclaw.partial': true, 'openclaw.gap': true, 'openclaw.late': true };
    expect(draw([run('r', 'main', {}, flags)])[0]).toContain('partial  gap  late');
  });

  it('uses 80 columns if the width is unknown, and draws nothing for no spans', () => {
    expect(draw(request(), { columns: 0 })).toEqual(draw(request(), { columns: 80 }));
    expect(draw([])).toEqual([]);
  });
});

const GOLDEN_100 = `                                                time  tokens in → out   reasoning  cached     cost
✓ main  agent:main:main  2 errors  7 tools     2.9 s      16.3k → 1.7k        628     47%  $0.0175
├─ gpt-5.1                                     1.2 s       4.2k → 310         128     49%  $0.0042
├─ sessions_spawn                              45 ms
│  └─ ✓ Child A  1 tool                        4.1 s       1.5k → 210          96          $0.0021
│     ├─ gpt-5.1                               1.2 s       1.5k → 210          96          $0.0021
│     └─ exec                                  1.1 s
├─ sessions_spawn                              38 ms
│  └─ ✓ Child B  2 tools                       2.3 s       1.5k → 240          64          $0.0023
│     ├─ gpt-5.1                               1.3 s       1.5k → 240          64          $0.0023
│     ├─ sessions_spawn                        51 ms
│     │  └─ ✓ Grandchild  1 error  1 tool      3.4 s       1.5k → 150                      $0.0018
│     │     ├─ gpt-5.1                        900 ms       1.5k → 150                      $0.0018
│     │     └─ ✗ exec  exit 7                 320 ms
│     ├─ sessions_yield                         3 ms
│     └─ ✓ ↻ continues  1 link                 2.2 s       1.9k → 120                 81%
│        └─ gpt-5.1                            2.1 s       1.9k → 120                 81%
└─ ✓ ↻ continues  1 error  2 links  1 tool  3 m 12 s       5.6k → 712         340     73%  $0.0071
   ├─ ✗ web_search  timeout                    8.0 s
   └─ gpt-5.1                                  2.6 s       5.6k → 712         340     73%  $0.0071`;

const GOLDEN_40 = `✓ main  2 errors  7 tools          2.9 s
├─ gpt-5.1                         1.2 s
├─ sessions_spawn                  45 ms
│  └─ ✓ Child A  1 tool            4.1 s
│     ├─ gpt-5.1                   1.2 s
│     └─ exec                      1.1 s
├─ sessions_spawn                  38 ms
│  └─ ✓ Child B  2 tools           2.3 s
│     ├─ gpt-5.1                   1.3 s
│     ├─ sessions_spawn            51 ms
│     │  └─ ✓ Grandch…  1 err…     3.4 s
│     │     ├─ gpt-5.1            900 ms
│     │     └─ ✗ exec  exit 7     320 ms
│     ├─ sessions_yield             3 ms
│     └─ ✓ ↻ continues  1 link     2.2 s
│        └─ gpt-5.1                2.1 s
└─ ✓ ↻ conti…  1 error  2 lin…  3 m 12 s
   ├─ ✗ web_search  timeout        8.0 s
   └─ gpt-5.1                      2.6 s`;
