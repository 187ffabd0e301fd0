/**
 * What must arrive of a workload, and what of it did: each span and log record as a line of text, and the sums of the counters.
 */
import { logText, spanText } from '../load/facts.js';
import { storyClock, tellAll, type Workload } from '../load/workload.js';

/** How often each text must come; with ids each is there once. */
type Texts = ReadonlyMap<string, number>;

export interface Expected {
  spans: { with_ids: Texts; without_ids: Texts };
  logs: { with_ids: Texts; without_ids: Texts };
  sums: Record<string, number>;
  counts: Counts;
}

export interface Counts {
  events: number;
  spans: number;
  logs: number;
}

const USAGE = 'gen_ai.client.inference.usage';

/** The counters, and the field of `llm.tokens` that each adds up. */
const COUNTED: Record<string, string> = {
  [`${USAGE}.input_tokens`]: 'input_tokens',
  [`${USAGE}.output_tokens`]: 'output_tokens',
  [`${USAGE}.cache_read.input_tokens`]: 'cache_read_tokens',
  [`${USAGE}.reasoning.output_tokens`]: 'reasoning_tokens',
  'openclaw.cost': 'cost_usd',
};

const add = (texts: Map<string, number>, text: string): void =>
  void texts.set(text, (texts.get(text) ?? 0) + 1);

export function expectOf(workload: Workload): Expected {
  const maps = () => ({ with_ids: new Map<string, number>(), without_ids: new Map<string, number>() });
  const [spans, logs] = [maps(), maps()];
  const sums = Object.fromEntries(Object.keys(COUNTED).map((name) => [name, 0]));
  const counts: Counts = { events: 0, spans: 0, logs: 0 };
  for (const { event, span, log } of tellAll(workload, storyClock())) {
    counts.events++;
    if (span !== undefined) {
      counts.spans++;
      add(spans.with_ids, spanText(span, true));
      add(spans.without_ids, spanText(span, false));
    }
    if (log !== undefined) {
      counts.logs++;
      add(logs.with_ids, logText(log, true));
      add(logs.without_ids, logText(log, false));
    }
    if (event.type !== 'llm.tokens') continue;
    for (const [name, field] of Object.entries(COUNTED))
      sums[name] = (sums[name] ?? 0) + Number(event[field]);
  }
  return { spans, logs, sums, counts };
}

export interface Comparison {
  expected: number;
  /** Expected and never there. */
  lost: number;
  /** There and not expected, or more often than that. */
  wrong: number;
  /** One of each, for people. */
  example?: string;
}

export function compare(expected: Texts, actual: Iterable<string>): Comparison {
  const left = new Map(expected);
  const wrong: string[] = [];
  for (const text of actual) {
    const count = left.get(text);
    if (count === undefined) wrong.push(text);
    else if (count === 1) left.delete(text);
    else left.set(text, count - 1);
  }
  const count = (texts: Texts): number => [...texts.values()].reduce((sum, each) => sum + each, 0);
  const [lost] = left.keys();
  const example = [lost && `lost: ${lost}`, wrong[0] && `wrong: ${wrong[0]}`].filter(Boolean).join('\n');
  return {
    expected: count(expected),
    lost: count(left),
    wrong: wrong.length,
    ...(example === '' ? {} : { example }),
  };
}
