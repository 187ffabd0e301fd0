import { describe, expect, it } from 'vitest';
import { type FooterOptions, renderFooter } from '../../src/terminal/footer.js';
import { textWidth } from '../../src/terminal/text.js';

const USAGE = 'gen_ai.client.inference.usage';
const NONE = new Map<string, number>();
const WIDE: FooterOptions = { columns: 200, color: false, unicode: true };

const metrics = (totals: Record<string, number>, options: Partial<FooterOptions> = {}): string[] =>
  renderFooter(new Map(Object.entries(totals)), NONE, { ...WIDE, ...options });
const logs = (records: Record<string, number>, options: Partial<FooterOptions> = {}): string[] =>
  renderFooter(NONE, new Map(Object.entries(records)), { ...WIDE, ...options });

const MANY = Object.fromEntries(Array.from({ length: 30 }, (_, kind) => [`openclaw.kind_${kind}`, 1]));

describe('the footer', () => {
  it.each<[string, Record<string, number>, string]>([
    [
      'everything',
      {
        [`${USAGE}.input_tokens`]: 2_000,
        [`${USAGE}.cache_read.input_tokens`]: 500,
        [`${USAGE}.output_tokens`]: 300,
        [`${USAGE}.reasoning.output_tokens`]: 100,
        'openclaw.cost': 1.5,
        'gen_ai.client.inference.duration': 1,
        'gen_ai.execute_tool.duration': 1_234,
        'gen_ai.invoke_agent.duration': 2,
      },
      '2.0k input tokens (25% cached) · 300 output, 100 of them reasoning · $1.50 · 1 model call · 1.2k tool calls · 2 runs',
    ],
    [
      'tokens without a cache, reasoning and a price',
      { [`${USAGE}.input_tokens`]: 1, [`${USAGE}.output_tokens`]: 7, 'openclaw.cost': 0 },
      '1 input token · 7 output',
    ],
    [
      'reasoning of a call without other tokens',
      { [`${USAGE}.reasoning.output_tokens`]: 8 },
      '8 reasoning tokens',
    ],
    ['only a run', { 'gen_ai.invoke_agent.duration': 1 }, '1 run'],
  ])('metrics: %s', (_, totals, text) => {
    expect(metrics(totals)).toEqual([`metrics  ${text}`]);
  });

  it('lists log records by event, the most frequent first', () => {
    expect(logs({ 'openclaw.tool_call': 1 })).toEqual(['logs     1 record: 1 tool_call']);
    expect(logs({ 'openclaw.tool_call': 20, 'openclaw.llm_tokens': 1_300 })).toEqual([
      'logs     1.3k records: 1.3k llm_tokens, 20 tool_call',
    ]);
  });

  it("is empty if nothing was recorded, and ignores the bridge's own metrics", () => {
    expect(metrics({ 'openclaw_otel_bridge.events': 9, 'openclaw.cost': 0 })).toEqual([]);
  });

  it('wraps between two parts', () => {
    expect(logs(MANY, { columns: 60 })).toEqual([
      'logs     30 records: 1 kind_0, 1 kind_1, 1 kind_2, 1 kind_3,',
      '         1 kind_4, 1 kind_5, 1 kind_6, 1 kind_7, 1 kind_8, …',
    ]);
  });

  it.each([1, 9, 20, 40, 80])('fits into two lines of %i cells', (columns) => {
    for (const unicode of [true, false]) {
      const lines = logs(MANY, { columns, unicode });
      expect(lines).toHaveLength(2);
      for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(columns);
      expect(lines[1]?.endsWith(unicode ? '…' : '~')).toBe(true);
    }
  });

  it('is ASCII if the terminal shows nothing else', () => {
    const [line] = metrics(
      { 'gen_ai.execute_tool.duration': 2, 'gen_ai.invoke_agent.duration': 1 },
      { unicode: false },
    );
    expect(line).toBe('metrics  2 tool calls; 1 run');
  });

  it('is dim if there are colours', () => {
    expect(logs({ 'openclaw.tool_call': 1 }, { color: true })).toEqual([
      '\x1b[2mlogs     1 record: 1 tool_call\x1b[22m',
    ]);
  });
});
