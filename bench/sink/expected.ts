/**
 * What must arrive from a workload, compared with what did: digests of the texts of spans and log records, and sums of
 * counters. The texts themselves would be hundreds of megabytes of objects, whose garbage collection would disturb the
 * measurement.
 */
import { createHash } from 'node:crypto';
import { logText, spanText } from '../load/facts.js';
import { storyClock, tellAll, type Workload } from '../load/workload.js';

export type Item = 'span' | 'log';

/** Sorted; 64 bits of a hash, so that collisions are practically impossible. */
export type Digests = BigUint64Array;

export interface Expected {
  workload: Workload;
  digests: Record<Item, { with_ids: Digests; without_ids: Digests }>;
  sums: Record<string, number>;
  counts: Counts;
}

export interface Counts {
  events: number;
  spans: number;
  logs: number;
}

const USAGE = 'gen_ai.client.inference.usage';

/** The counters, and the field of `llm.tokens` that each of them sums. */
const COUNTED: Record<string, string> = {
  [`${USAGE}.input_tokens`]: 'input_tokens',
  [`${USAGE}.output_tokens`]: 'output_tokens',
  [`${USAGE}.cache_read.input_tokens`]: 'cache_read_tokens',
  [`${USAGE}.reasoning.output_tokens`]: 'reasoning_tokens',
  'openclaw.cost': 'cost_usd',
};

const digestOf = (text: string): bigint => createHash('sha1').update(text).digest().readBigUInt64LE();

const sorted = (digests: bigint[]): Digests => BigUint64Array.from(digests).sort();

export function digestsOf(texts: Iterable<string>): Digests {
  const digests: bigint[] = [];
  for (const text of texts) digests.push(digestOf(text));
  return sorted(digests);
}

export function expectOf(workload: Workload): Expected {
  const lists = () => ({ with_ids: [] as bigint[], without_ids: [] as bigint[] });
  const [spans, logs] = [lists(), lists()];
  const sums = Object.fromEntries(Object.keys(COUNTED).map((name) => [name, 0]));
  const counts: Counts = { events: 0, spans: 0, logs: 0 };
  for (const { event, span, log } of tellAll(workload, storyClock())) {
    counts.events++;
    if (span !== undefined) {
      counts.spans++;
      spans.with_ids.push(digestOf(spanText(span, true)));
      spans.without_ids.push(digestOf(spanText(span, false)));
    }
    if (log !== undefined) {
      counts.logs++;
      logs.with_ids.push(digestOf(logText(log, true)));
      logs.without_ids.push(digestOf(logText(log, false)));
    }
    if (event.type !== 'llm.tokens') continue;
    for (const [name, field] of Object.entries(COUNTED))
      sums[name] = (sums[name] ?? 0) + Number(event[field]);
  }
  const digests = (of: ReturnType<typeof lists>) => ({
    with_ids: sorted(of.with_ids),
    without_ids: sorted(of.without_ids),
  });
  return { workload, digests: { span: digests(spans), log: digests(logs) }, sums, counts };
}

/** The expected texts, generated once more. */
export function* expectedTexts(workload: Workload, item: Item, with_ids: boolean): Generator<string> {
  for (const { span, log } of tellAll(workload, storyClock())) {
    if (item === 'span' && span !== undefined) yield spanText(span, with_ids);
    if (item === 'log' && log !== undefined) yield logText(log, with_ids);
  }
}

export interface Comparison {
  expected: number;
  /** Expected but missing. */
  lost: number;
  /** Not expected, or more often than expected. */
  wrong: number;
  /** One example of each, for people. */
  example?: string;
}

/** The digests that one side lacks or has less often. */
function differences(expected: Digests, actual: Digests): { lost: bigint[]; wrong: bigint[] } {
  const lost: bigint[] = [];
  const wrong: bigint[] = [];
  for (let e = 0, a = 0; e < expected.length || a < actual.length; ) {
    const [wanted, found] = [expected[e], actual[a]];
    if (found === undefined || (wanted !== undefined && wanted < found)) {
      lost.push(wanted as bigint);
      e++;
    } else if (wanted === undefined || found < wanted) {
      wrong.push(found);
      a++;
    } else {
      e++;
      a++;
    }
  }
  return { lost, wrong };
}

/** A text with the first of these digests. */
function find(texts: Iterable<string>, [digest]: bigint[]): string | undefined {
  if (digest === undefined) return undefined;
  for (const text of texts) if (digestOf(text) === digest) return text;
  return undefined;
}

export interface Side {
  digests: Digests;
  /** The texts of the digests. */
  texts(): Iterable<string>;
}

export function compare(expected: Side, actual: Side): Comparison {
  const { lost, wrong } = differences(expected.digests, actual.digests);
  const [lost_text, wrong_text] = [find(expected.texts(), lost), find(actual.texts(), wrong)];
  const example = [lost_text && `lost: ${lost_text}`, wrong_text && `wrong: ${wrong_text}`]
    .filter(Boolean)
    .join('\n');
  return {
    expected: expected.digests.length,
    lost: lost.length,
    wrong: wrong.length,
    ...(example === '' ? {} : { example }),
  };
}
