/**
 * Nothing is lost, as a law: whatever the events are, wherever the bridge is killed, whichever of its writes had reached the disk
 * by then, and however the backend behaves, the backend ends up with what one undisturbed bridge sends for the surviving lines.
 */
import { fc, test } from '@fast-check/vitest';
import { pino } from 'pino';
import { expect, test as single, vi } from 'vitest';
import { composeBridge } from '../src/bridge.js';
import { MACHINE, openDestination } from '../src/export/destination.js';
import { createMetrics, type DestinationConfig, type EndpointConfig } from '../src/export/index.js';
import { OUTBOX_PREFIX } from '../src/model/delivery.js';
import type { AgentEvent } from '../src/model/event.js';
import type { LineBatch, Source } from '../src/model/source.js';
import { openSavedState } from '../src/persistence/saved-state.js';
import type { Changes, Store, Written } from '../src/store/index.js';
import { requests } from './correlate/stories.js';
import { answered, fakeLogger, OK, UNREACHABLE } from './export/fakes.js';
import { createMemoryStore, gatherFor } from './store/memory.js';

vi.setConfig({ testTimeout: 120_000 });
vi.useFakeTimers({
  toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'performance', 'Date'],
});

const POLL_INTERVAL_MS = 250;

type Encoding = EndpointConfig['encoding'];

/** `encoding`: the one that the backend is assumed to accept. */
function configFor(encoding: Encoding): DestinationConfig {
  const endpoint = (signal: string): EndpointConfig => ({
    url: `http://127.0.0.1:1/v1/${signal}`,
    encoding,
    compression: 'none',
    headers: {},
    tls: {},
    timeout_ms: 1_000,
  });
  return {
    name: 'otlp',
    preset: 'otlp',
    endpoints: { traces: endpoint('traces'), metrics: endpoint('metrics'), logs: endpoint('logs') },
    temporality: 'delta',
    profile: 'latest',
    open_spans: 'none',
  };
}

// biome-ignore lint/suspicious/noExplicitAny: OTLP/JSON as it came
type Json = any;

/** A backend that records what it accepts: spans by id, distinct log records, and the sums of measurements. */
function createBackend() {
  const spans = new Map<string, string>();
  const logs = new Set<string>();
  const sums = new Map<string, number>();
  const requests_seen = new Set<string>();

  function add(name: string, value: number): void {
    sums.set(name, (sums.get(name) ?? 0) + value);
  }

  function takeMetric({ name, sum, histogram }: Json): void {
    // The bridge's own metrics are about a single process.
    if (name.startsWith('openclaw_otel_bridge.')) return;
    for (const point of [...(sum?.dataPoints ?? []), ...(histogram?.dataPoints ?? [])]) {
      const key = `${name} ${JSON.stringify(point.attributes)}`;
      add(key, Number(point.asInt ?? point.asDouble ?? point.sum ?? 0));
      if (point.count !== undefined) add(`${key} count`, Number(point.count));
    }
  }

  return {
    spans,
    logs,
    /** Rounded, since the order of additions differs. */
    sums: () => Object.fromEntries([...sums].sort().map(([key, value]) => [key, Number(value.toFixed(6))])),
    take(body: string): void {
      // A repeated request has the same bytes.
      if (requests_seen.has(body)) return;
      requests_seen.add(body);
      const { resourceSpans = [], resourceLogs = [], resourceMetrics = [] }: Json = JSON.parse(body);
      for (const { scopeSpans } of resourceSpans)
        for (const span of scopeSpans[0].spans) spans.set(span.spanId, JSON.stringify(span));
      for (const { scopeLogs } of resourceLogs)
        for (const { observedTimeUnixNano: _, ...record } of scopeLogs[0].logRecords)
          logs.add(JSON.stringify(record));
      for (const { scopeMetrics } of resourceMetrics)
        for (const { metrics } of scopeMetrics) metrics.forEach(takeMetric);
    },
  };
}

type Backend = ReturnType<typeof createBackend>;

/** A disk that writes when it is flushed. Of the unflushed writes a crash keeps the first `kept_writes`. */
function createDisk() {
  let unflushed: { changes: Changes; done: (written: Written) => void }[] = [];
  let is_dead = false;
  const inner = createMemoryStore();

  function flush(count: number): void {
    for (const { changes, done } of unflushed.splice(0, count)) {
      void inner.write(changes);
      done({ ok: true });
    }
  }

  return {
    /** The writes that have reached it. */
    written: inner,
    flush,
    /** Rejects writes, as a full disk does. */
    refuse(count: number): void {
      for (const { done } of unflushed.splice(0, count)) done({ ok: false, message: 'full' });
    },
    /** The store of one process. */
    open(): Store {
      is_dead = false;
      const write: Store['write'] = (changes) =>
        new Promise((done) => {
          if (is_dead) done({ ok: false, message: 'dead' });
          else unflushed.push({ changes, done });
        });
      return { ...inner, write, gather: () => gatherFor(write) };
    },
    crash(kept_writes: number): void {
      flush(kept_writes);
      is_dead = true;
      for (const { done } of unflushed) done({ ok: false, message: 'dead' });
      unflushed = [];
    },
  };
}

type Disk = ReturnType<typeof createDisk>;

/** Advances the time, so that no two requests have the same timestamp. */
function turn(): Promise<void> {
  vi.advanceTimersByTime(1);
  return new Promise((resolve) => setImmediate(resolve));
}

const SOURCE = 'unix:/agent.sock';
const STREAM = 'connection';

/** A source whose batches are supplied one by one by the test. */
function createFeed() {
  const waiting: LineBatch[] = [];
  let wake = (): void => undefined;
  let has_ended = false;
  const source: Source = {
    name: SOURCE,
    async open() {
      return (async function* () {
        for (;;) {
          const batch = waiting.shift();
          if (batch !== undefined) yield batch;
          else if (has_ended) return;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      })();
    },
    async close() {},
  };
  return {
    source,
    give(events: AgentEvent[], position: number, more: Partial<LineBatch> = {}): void {
      const lines = events.map((event, index) => ({
        number: index + 1,
        bytes: Buffer.from(JSON.stringify(event)),
      }));
      waiting.push({ kind: 'lines', stream: STREAM, end: false, lines, arrival_ms: 0, position, ...more });
      wake();
    },
    end(): void {
      has_ended = true;
      wake();
    },
  };
}

interface Clock {
  now_ms: number;
}

/** A bridge with its destination and metrics, in a process that can be killed; its backend accepts only JSON. */
async function startLife(
  disk: Disk | undefined,
  backend: Backend,
  clock: Clock,
  isUp: () => boolean,
  encoding: Encoding = 'json',
  checkpoint_interval_ms = 0,
) {
  let is_dead = false;
  const feed = createFeed();
  const saved = disk && openSavedState(disk.open(), 'run');
  const destination = openDestination(configFor(encoding), {
    ...MACHINE,
    logger: fakeLogger(),
    memory_limit_bytes: 1e9,
    saved: saved?.deliveries,
    sleep: turn,
    transport: () => ({
      async post(body, _, sent_as) {
        await turn();
        if (is_dead) return UNREACHABLE;
        if (!isUp()) return answered(503);
        if (sent_as !== 'json') return answered(501);
        backend.take(Buffer.from(body).toString());
        return OK;
      },
      close: async () => undefined,
    }),
  });
  const metrics = createMetrics(destination.reader ? [destination.reader] : [], () => ({
    source: { events: 0, rejected: {} },
    destinations: {},
  }));
  const bridge = composeBridge({
    sources: [feed.source],
    destinations: [destination],
    recordMeasurements: metrics.record,
    dialect: 'catalog',
    max_line_bytes: 1_000_000,
    logger: pino({ level: 'silent' }),
    now: () => clock.now_ms,
    ...(saved ? { persist: { saved, place: 'here', checkpoint_interval_ms, store_limit_bytes: 1e9 } } : {}),
  });
  /** Advances the time until this is done: requests may wait for a timer alone. */
  async function withTime(wanted: Promise<unknown>, pass = () => {}): Promise<void> {
    let is_done = false;
    const done = wanted.finally(() => {
      is_done = true;
    });
    while (!is_done) {
      pass();
      await turn();
    }
    await done;
  }

  /** Flushes the disk meanwhile: the parts of a divided request wait for a checkpoint. */
  const withDisk = (wanted: Promise<unknown>): Promise<void> =>
    withTime(wanted, () => {
      disk?.flush(Infinity);
      vi.advanceTimersByTime(POLL_INTERVAL_MS);
    });

  await withDisk(bridge.open());
  const reading = bridge.read();
  return {
    feed,
    bridge,
    pending: destination.pending,
    async finish(): Promise<void> {
      feed.end();
      await withDisk(reading);
      await withDisk(bridge.finish(60_000, { is_over: true }));
    },
    async kill(kept_writes: number): Promise<void> {
      disk?.crash(kept_writes);
      is_dead = true;
      feed.end();
      await withTime(reading);
      await withTime(bridge.finish(0));
    },
  };
}

/** The number of batches that survived: those in a checkpoint, and those in the journal after it. */
function survivingIn({ written }: Disk): number {
  const position = openSavedState(written, 'run').positions[SOURCE]?.[STREAM];
  return position === undefined ? 0 : Number(position) + 1;
}

const move = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('feed' as const), lines: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('flush' as const), writes: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('backend' as const), is_up: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), kept_writes: fc.nat(3) }) },
);

/** The time of the clock when a batch came for the first time. */
const timeOf = (batches: AgentEvent[][], last: number): number =>
  Math.max(0, ...batches.slice(0, last + 1).flatMap((batch) => batch.map(({ ts }) => ts)));

/** The backend of one undisturbed bridge that reads these events. */
async function undisturbed(batches: AgentEvent[][], more: Partial<LineBatch> = {}): Promise<Backend> {
  const backend = createBackend();
  const clock = { now_ms: 0 };
  const life = await startLife(undefined, backend, clock, () => true);
  for (const [index, batch] of batches.entries()) {
    clock.now_ms = Math.max(clock.now_ms, ...batch.map(({ ts }) => ts));
    life.feed.give(batch, index, more);
    await turn();
  }
  await life.finish();
  return backend;
}

function expectSame(backend: Backend, expected: Backend): void {
  expect(backend.spans).toEqual(expected.spans);
  expect([...backend.logs].sort()).toEqual([...expected.logs].sort());
  expect(backend.sums()).toEqual(expected.sums());
}

type Move = typeof move extends fc.Arbitrary<infer M> ? M : never;

/** A bridge that is fed a story, and the moves of a test. */
async function startPlay(events: AgentEvent[], encoding: Encoding = 'json', checkpoint_interval_ms = 0) {
  const disk = createDisk();
  const backend = createBackend();
  const clock = { now_ms: 0 };
  /** Batches in the order in which they were fed. */
  const batches: AgentEvent[][] = [];
  let is_up = true;
  let fed = 0;
  const start = () => startLife(disk, backend, clock, () => is_up, encoding, checkpoint_interval_ms);
  let life = await start();

  function feed(count: number): void {
    const batch = events.slice(fed, fed + count);
    fed += batch.length;
    if (batch.length === 0) return;
    clock.now_ms = Math.max(clock.now_ms, ...batch.map(({ ts }) => ts));
    life.feed.give(batch, batches.length);
    batches.push(batch);
  }

  return {
    disk,
    batches,
    make(each: Exclude<Move, { do: 'kill' }>): void {
      if (each.do === 'feed') feed(each.lines);
      else if (each.do === 'flush') disk.flush(each.writes);
      else if (each.do === 'backend') is_up = each.is_up;
      // Time enough to save answers, and for a checkpoint.
      else if (each.do === 'wait') vi.advanceTimersByTime(POLL_INTERVAL_MS);
    },
    kill: (kept_writes: number) => life.kill(kept_writes),
    async restart(): Promise<void> {
      life = await start();
    },
    /** Feeds the rest, and checks what the backend has. */
    async finish(): Promise<void> {
      is_up = true;
      feed(Infinity);
      await life.finish();
      expectSame(backend, await undisturbed(batches));
      expect(life.pending()).toBe(0);
      // No record of acknowledged data is left, or the next process would send it again.
      expect([...disk.written.entries(OUTBOX_PREFIX)]).toEqual([]);
    },
  };
}

const encodings = fc.constantFrom<Encoding>('json', 'protobuf');

test.prop([requests, fc.array(move, { maxLength: 80 }), encodings], { numRuns: 60 })(
  'whenever the bridge is killed, and whichever encoding it tries first, the backend has what survived, once',
  async (events, moves, encoding) => {
    const play = await startPlay(events, encoding);
    for (const each of moves) {
      if (each.do !== 'kill') play.make(each);
      else {
        await play.kill(each.kept_writes);
        // Nothing was sent of lines that were not on the disk: it is as if they had never come.
        play.batches.splice(survivingIn(play.disk));
        await play.restart();
      }
      await turn();
    }
    await play.finish();
  },
);

const ROUNDS_TO_RECOVER = 30;

/** Single writes fail, most often those of a checkpoint, and the bridge is killed before it has read many more lines. */
const full_now_and_then = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: move },
    { weight: 2, arbitrary: fc.constant({ do: 'flush' as const, writes: 1 }) },
    { weight: 2, arbitrary: fc.constant({ do: 'refuse' as const, writes: 1 }) },
    { weight: 3, arbitrary: fc.constant({ do: 'wait' as const }) },
    { weight: 4, arbitrary: fc.constant({ do: 'turn' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'kill' as const, kept_writes: 0 }) },
  ),
  { minLength: 20, maxLength: 120 },
);

test.prop([requests, full_now_and_then], { numRuns: 200 })(
  'a disk that is full for a while, at any write, makes no difference once it can be written again',
  async (events, moves) => {
    const play = await startPlay(events);
    // The status record is written every second; once that succeeds, a checkpoint saves everything.
    const recover = async (): Promise<void> => {
      for (let round = 0; round < ROUNDS_TO_RECOVER; round++) {
        vi.advanceTimersByTime(POLL_INTERVAL_MS);
        await turn();
        play.disk.flush(Infinity);
        await turn();
      }
    };
    for (const each of moves) {
      if (each.do === 'refuse') play.disk.refuse(each.writes);
      else if (each.do !== 'kill') play.make(each);
      else {
        await recover();
        await play.kill(0);
        await play.restart();
      }
      await turn();
    }
    await play.finish();
  },
);

single(
  'lines that come during the first checkpoint after a full disk survive no later than those that come after it',
  async () => {
    const events = [1, 2, 3].map(
      (number): AgentEvent => ({
        type: 'agent.started',
        ts: 1_700_000_000_000 + number,
        session_key: 'agent:main:main',
        run_id: `run-${number}`,
        seq: 1,
      }),
    );
    const play = await startPlay(events, 'json', 5_000);
    const turns = async (count: number, writes: number): Promise<void> => {
      for (let made = 0; made < count; made++) {
        play.disk.flush(writes);
        await turn();
      }
    };
    const passSecond = async (): Promise<void> => {
      for (let looks = 0; looks < 1_000 / POLL_INTERVAL_MS; looks++) {
        vi.advanceTimersByTime(POLL_INTERVAL_MS);
        await turn();
      }
    };
    // The status record of the start is written.
    await turns(1, Infinity);
    play.make({ do: 'feed', lines: 1 });
    await turn();
    play.disk.refuse(1);
    await turn();
    await passSecond();
    // The status record can be written: a checkpoint follows.
    await turns(1, 1);
    await turns(20, 0);
    play.make({ do: 'feed', lines: 1 });
    await turns(2, 0);
    await turns(20, 1);
    play.make({ do: 'feed', lines: 1 });
    await turns(2, 1);
    await play.kill(0);
    play.batches.splice(survivingIn(play.disk));
    expect(play.batches).toHaveLength(3);
    await play.restart();
    await play.finish();
  },
);

/** Removes what identifies the event, so that only an identical line shows that it is repeated. */
function anonymous(event: AgentEvent): AgentEvent {
  const { seq: _seq, event_id: _event, response_id: _response, ...rest } = { response_id: '', ...event };
  return rest as AgentEvent;
}

/** Kills the bridge more often than the law above, since that has to happen between an answer and what comes after it. */
const sending = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: move },
    { weight: 4, arbitrary: fc.constant({ do: 'feed' as const, lines: 1 }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), kept_writes: fc.nat(3) }) },
  ),
  { minLength: 20, maxLength: 80 },
);

function inBatchesOf(sizes: number[], events: AgentEvent[]): AgentEvent[][] {
  const batches: AgentEvent[][] = [];
  for (let at = 0, index = 0; at < events.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    batches.push(events.slice(at, at + size));
    at += size;
  }
  return batches;
}

test.prop(
  [
    requests,
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 8 }),
    sending,
    fc.infiniteStream(fc.nat(3)),
  ],
  { numRuns: 60 },
)(
  'a sender that sends again what was not acknowledged loses nothing, and nothing counts twice',
  async (events, sizes, moves, lost_answers) => {
    const batches = inBatchesOf(sizes, events.map(anonymous));
    const disk = createDisk();
    const backend = createBackend();
    const clock = { now_ms: 0 };
    let is_up = true;
    let answered_batches = 0;
    let next = 0;
    let life = await startLife(disk, backend, clock, () => is_up);
    const feed = (): void => {
      const number = next++;
      const batch = batches[number];
      if (batch === undefined) return;
      clock.now_ms = timeOf(batches, number);
      const settle = (is_recoverable: boolean): void => {
        if (is_recoverable && number === answered_batches) answered_batches++;
      };
      life.feed.give(batch, number, { may_repeat: true, receipt: { reject: () => expect.fail(), settle } });
    };
    for (const each of moves) {
      if (each.do === 'feed') feed();
      else if (each.do === 'flush') disk.flush(each.writes);
      else if (each.do === 'backend') is_up = each.is_up;
      else if (each.do === 'wait') vi.advanceTimersByTime(POLL_INTERVAL_MS);
      else if (each.do === 'kill') {
        await life.kill(each.kept_writes);
        answered_batches = Math.max(0, answered_batches - lost_answers.next().value);
        next = answered_batches;
        life = await startLife(disk, backend, clock, () => is_up);
      }
      await turn();
    }
    is_up = true;
    while (next < batches.length) feed();
    await life.finish();
    expect(answered_batches).toBe(batches.length);
    expectSame(backend, await undisturbed(batches, { may_repeat: true }));
  },
);
