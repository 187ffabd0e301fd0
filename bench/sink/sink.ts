/**
 * The backend of a benchmark, in a process of its own: an HTTP server that accepts every OTLP request, counts its items and
 * reports when all have arrived. The contents are examined after the measurement.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveCalls } from '../lib/calls.js';
import { nowMs } from '../lib/clock.js';
import { logText, spanText } from '../load/facts.js';
import type { Workload } from '../load/workload.js';
import {
  type Comparison,
  type Counts,
  compare,
  digestsOf,
  type Expected,
  expectedTexts,
  expectOf,
  type Item,
} from './expected.js';
import { readSums } from './metrics.js';
import { countItems, readLogs, readSpans } from './otlp.js';
import { countRightTrees } from './trees.js';

type Signal = 'traces' | 'metrics' | 'logs';

interface Request {
  signal: Signal;
  body: Buffer;
  received_ms: number;
}

export interface Arrival {
  /** When the last expected span or log record arrived or, if some are missing, the last of the others. */
  last_ms: number;
  spans: number;
  logs: number;
}

export interface Check {
  spans: Comparison;
  logs: Comparison | undefined;
  /** The counters whose sums differ from those of the events. */
  wrong_sums: string[] | undefined;
}

/** The calls from the main process. */
export type SinkCalls = {
  expect(workload: Workload): Counts;
  reset(): void;
  /** Resolves when this many have arrived, or when nothing has arrived for `quiet_ms`. */
  until(wanted: { spans: number; logs: number; quiet_ms: number }): Promise<Arrival>;
  check(what: { with_ids: boolean; is_full: boolean }): Check;
  /** The number of traces with the tree of the recording. */
  countRightTrees(): number;
  /** For each span that ended later than this, the milliseconds from its end to its arrival. */
  latencies(since_ms: number): number[];
};

let requests: Request[] = [];
let counts: Record<Signal, number> = { traces: 0, metrics: 0, logs: 0 };
let last_ms = 0;
let expected: Expected | undefined;
let tell = (): void => undefined;

function take(signal: Signal, body: Buffer): void {
  const received_ms = nowMs();
  requests.push({ signal, body, received_ms });
  if (signal === 'metrics') return;
  counts[signal] += countItems(body);
  last_ms = received_ms;
  tell();
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    take(request.url?.slice(request.url.lastIndexOf('/') + 1) as Signal, Buffer.concat(chunks));
    response.end();
  });
}

function until({
  spans,
  logs,
  quiet_ms,
}: {
  spans: number;
  logs: number;
  quiet_ms: number;
}): Promise<Arrival> {
  return new Promise((resolve) => {
    let quiet: NodeJS.Timeout | undefined;
    const arrived = (): void => {
      clearTimeout(quiet);
      tell = () => undefined;
      resolve({ last_ms, spans: counts.traces, logs: counts.logs });
    };
    tell = () => {
      clearTimeout(quiet);
      if (counts.traces >= spans && counts.logs >= logs) arrived();
      else quiet = setTimeout(arrived, quiet_ms);
    };
    tell();
  });
}

const bodiesOf = (signal: Signal): Buffer[] =>
  requests.filter((request) => request.signal === signal).map(({ body }) => body);

function* texts<T>(
  signal: Signal,
  read: (body: Buffer) => T[],
  toText: (item: T) => string,
): Generator<string> {
  for (const body of bodiesOf(signal)) for (const item of read(body)) yield toText(item);
}

const actualTexts = (item: Item, with_ids: boolean): Iterable<string> =>
  item === 'span'
    ? texts('traces', readSpans, (span) => spanText(span, with_ids))
    : texts('logs', readLogs, (log) => logText(log, with_ids));

function compareItems({ workload, digests }: Expected, item: Item, with_ids: boolean): Comparison {
  const actual = () => actualTexts(item, with_ids);
  return compare(
    {
      digests: digests[item][with_ids ? 'with_ids' : 'without_ids'],
      texts: () => expectedTexts(workload, item, with_ids),
    },
    { digests: digestsOf(actual()), texts: actual },
  );
}

/** Doubles may have been added in another order. */
const isSame = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.abs(b);

function wrongSums({ sums }: Expected): string[] {
  const last = bodiesOf('metrics').at(-1);
  const found = last === undefined ? {} : readSums(last.toString());
  return Object.entries(sums)
    .filter(([name, sum]) => !isSame(found[name] ?? 0, sum))
    .map(([name, sum]) => `${name}: ${found[name]} instead of ${sum}`);
}

function check({ with_ids, is_full }: { with_ids: boolean; is_full: boolean }): Check {
  if (expected === undefined) throw new Error('nothing is expected');
  return {
    spans: compareItems(expected, 'span', with_ids),
    logs: is_full ? compareItems(expected, 'log', with_ids) : undefined,
    wrong_sums: is_full ? wrongSums(expected) : undefined,
  };
}

function latencies(since_ms: number): number[] {
  return requests
    .filter(({ signal }) => signal === 'traces')
    .flatMap(({ body, received_ms }) =>
      readSpans(body)
        .filter(({ end_ms }) => end_ms >= since_ms)
        .map(({ end_ms }) => received_ms - end_ms),
    );
}

const server = createServer(answer);
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  serveCalls<SinkCalls>(
    {
      expect(workload) {
        expected = expectOf(workload);
        return expected.counts;
      },
      reset() {
        requests = [];
        counts = { traces: 0, metrics: 0, logs: 0 };
        last_ms = nowMs();
      },
      until,
      check,
      countRightTrees: () => countRightTrees(bodiesOf('traces').flatMap(readSpans)),
      latencies,
    },
    `http://127.0.0.1:${port}`,
  );
});
