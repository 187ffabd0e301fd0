import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import type { LaneItem } from '../../src/export/item.js';
import { Lane, type LaneEvent, type LaneOptions } from '../../src/export/lane.js';
import type { Outcome } from '../../src/export/verdict.js';
import type { SignalCounts } from '../../src/model/delivery.js';
import {
  answered,
  deferred,
  fakeClock,
  OK,
  scriptedPost,
  seededRandom,
  TIMED_OUT,
  UNREACHABLE,
} from './fakes.js';

const item = (name: string, changes: Partial<LaneItem<string>> = {}): LaneItem<string> => ({
  payload: name,
  bytes: 100,
  count: 1,
  ...changes,
});
const items = (count: number, prefix = 'i'): LaneItem<string>[] =>
  Array.from({ length: count }, (_, index) => item(`${prefix}${index}`));
const preview = (id: string, version: number) => item(`${id} preview ${version}`, { id, count: 0 });
const final = (id: string) => item(`${id} final`, { id });
const read = (body: string): string[] => JSON.parse(body) as string[];

const sum = (reasons: Record<string, number>) =>
  Object.values(reasons).reduce((total, count) => total + count, 0);
const balance = ({ produced, delivered, pending, rejected, dropped }: SignalCounts) =>
  produced - delivered - pending - sum(rejected) - sum(dropped);

function openLane(post: LaneOptions<string>['post'], changes: Partial<LaneOptions<string>> = {}) {
  const clock = fakeClock();
  const events: LaneEvent[] = [];
  const lane = new Lane<string>({
    signal: 'traces',
    encode: (payloads) => Buffer.from(JSON.stringify(payloads)),
    post,
    max_items: 512,
    limit_bytes: 1_000_000,
    now: clock.now,
    random: seededRandom(),
    sleep: clock.sleep,
    report: (event) => events.push(event),
    ...changes,
  });
  return { lane, clock, events };
}

const losses = (events: LaneEvent[]) => events.filter((event) => event.kind === 'lost');

describe('sending', () => {
  test('items offered in one turn go in one request; later ones queue while it is in flight', async () => {
    const first = deferred<Outcome>();
    const script = scriptedPost([() => first.promise]);
    const { lane } = openLane(script.post);
    lane.offer([item('a')]);
    lane.offer([item('b')]);
    await Promise.resolve();
    lane.offer([item('c')]);
    lane.offer([item('d')]);
    expect(lane.counts()).toMatchObject({ produced: 4, delivered: 0, pending: 4 });
    first.resolve(OK);
    await lane.idle();
    expect(script.bodies.map(read)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    expect(lane.counts()).toEqual({ produced: 4, delivered: 4, pending: 0, rejected: {}, dropped: {} });
  });

  test('with gather_ms, items that soon follow a request wait for more, unless they fill a batch', async () => {
    const clock = fakeClock();
    const sent_ms: number[] = [];
    const script = scriptedPost([]);
    const post: LaneOptions<string>['post'] = (body) => {
      sent_ms.push(clock.now());
      return script.post(body);
    };
    const { now, sleep } = clock;
    const { lane } = openLane(post, { gather_ms: 5, max_items: 4, now, sleep });
    const start_ms = now();
    const send = async (count: number): Promise<void> => {
      lane.offer(items(count));
      await lane.idle();
    };
    await send(1);
    clock.advance(2);
    await send(1);
    clock.advance(1);
    await send(4);
    clock.advance(7);
    await send(1);
    expect(sent_ms.map((ms) => ms - start_ms)).toEqual([0, 5, 6, 13]);
    expect(lane.counts()).toMatchObject({ delivered: 7, pending: 0 });
  });

  test('a batch ends at its byte limit; a larger item is sent alone', async () => {
    const script = scriptedPost([]);
    const { lane } = openLane(script.post, { limit_bytes: 1e9 });
    const megabyte = 1024 * 1024;
    lane.offer([3, 2, 9, 1].map((size, index) => item(`i${index}`, { bytes: size * megabyte })));
    await lane.idle();
    expect(script.bodies.map(read)).toEqual([['i0'], ['i1'], ['i2'], ['i3']]);
  });

  test('idle resolves at once on an empty lane', async () => {
    await openLane(async () => OK).lane.idle();
  });

  test('closing aborts the request in flight and leaves the rest pending', async () => {
    let aborted = false;
    const post = (_: Uint8Array, signal: AbortSignal) =>
      new Promise<Outcome>((resolve) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          resolve(UNREACHABLE);
        });
      });
    const { lane, events } = openLane(post);
    lane.offer(items(3));
    const idle = lane.idle();
    await Promise.resolve();
    await lane.close();
    await idle;
    lane.offer(items(2));
    expect(aborted).toBe(true);
    expect(events).toEqual([]);
    expect(lane.counts()).toEqual({ produced: 5, delivered: 0, pending: 5, rejected: {}, dropped: {} });
  });
});

describe('a backend that does not accept the encoding', () => {
  /** Both encodings are readable as JSON, so that the script can inspect the bodies. */
  const encode: LaneOptions<string>['encode'] = (payloads, encoding) =>
    Buffer.from(JSON.stringify([encoding, ...payloads]));

  /** Accepts only JSON, and answers 501 to anything else. */
  function jsonOnly(answers: Outcome[] = []) {
    const sent: string[] = [];
    const taken: string[] = [];
    const post: LaneOptions<string>['post'] = async (body, _, encoding) => {
      const [written_as, ...payloads] = read(Buffer.from(body).toString());
      expect(written_as).toBe(encoding);
      sent.push(`${encoding} ${payloads.join()}`);
      const answer = answers.shift() ?? (encoding === 'json' ? OK : answered(501, 'no protobuf'));
      if (answer === OK) taken.push(...payloads);
      return answer;
    };
    return { sent, taken, post };
  }

  test('gets the same batch again in JSON, and only JSON from then on', async () => {
    const { sent, post } = jsonOnly();
    const { lane, events, clock } = openLane(post, { encode, encoding: 'protobuf' });
    lane.offer([item('a'), item('b')]);
    await lane.idle();
    lane.offer([item('c')]);
    await lane.idle();
    expect(sent).toEqual(['protobuf a,b', 'json a,b', 'json c']);
    expect(clock.slept).toEqual([]);
    expect(events.filter(({ kind }) => kind === 'encoding')).toEqual([
      { kind: 'encoding', encoding: 'json', message: 'HTTP 501: no protobuf' },
    ]);
    expect(losses(events)).toEqual([]);
    expect(lane.counts()).toEqual({ produced: 3, delivered: 3, pending: 0, rejected: {}, dropped: {} });
  });

  test('that accepts neither is tried once with each, and the refused items are counted', async () => {
    const { sent, post } = jsonOnly([answered(501), answered(501), answered(501)]);
    const { lane, events } = openLane(post, { encode, encoding: 'protobuf' });
    lane.offer([item('a')]);
    await lane.idle();
    lane.offer([item('b')]);
    await lane.idle();
    expect(sent).toEqual(['protobuf a', 'json a', 'json b']);
    expect(events.filter(({ kind }) => kind === 'encoding')).toHaveLength(1);
    expect(lane.counts()).toMatchObject({ produced: 2, pending: 0, rejected: { http_501: 2 } });
  });

  test('halves and batches that wait for a retry are encoded anew', async () => {
    const { sent, taken, post } = jsonOnly([answered(413), UNREACHABLE, answered(501)]);
    const { lane } = openLane(post, { encode, encoding: 'protobuf' });
    lane.offer(items(4));
    await lane.idle();
    expect(sent).toEqual([
      'protobuf i0,i1,i2,i3',
      'protobuf i0,i1',
      'protobuf i0,i1',
      'json i0,i1',
      'json i2,i3',
    ]);
    expect(taken).toEqual(['i0', 'i1', 'i2', 'i3']);
  });

  test('items stay in order', async () => {
    const { taken, post } = jsonOnly([answered(503), answered(501)]);
    const { lane } = openLane(post, { encode, encoding: 'protobuf', in_order: true, max_items: 1 });
    lane.offer(items(3));
    await lane.idle();
    expect(taken).toEqual(['i0', 'i1', 'i2']);
  });

  property.prop([
    fc.array(fc.constantFrom(503, 501, 413, 0), { maxLength: 30 }),
    fc.integer({ min: 1, max: 40 }),
  ])('everything is accepted once, whatever else is answered before', async (statuses, count) => {
    const { taken, post } = jsonOnly();
    const left = [...statuses];
    const { lane } = openLane(
      async (body, signal, encoding) => {
        const status = left.shift();
        if (status === 0) return UNREACHABLE;
        if (status === 503 || (status === 413 && read(Buffer.from(body).toString()).length > 2))
          return answered(status);
        return post(body, signal, encoding);
      },
      { encode, encoding: 'protobuf' },
    );
    lane.offer(items(count));
    await lane.idle();
    expect(taken.toSorted()).toEqual(
      items(count)
        .map(({ payload }) => payload)
        .toSorted(),
    );
    expect(lane.counts()).toMatchObject({ produced: count, delivered: count, pending: 0 });
  });
});

describe('retries', () => {
  test.each([429, 502, 503, 504])(
    'status %i is retried with the same bytes, without a deadline',
    async (status) => {
      const script = scriptedPost(Array.from({ length: 500 }, () => answered(status)));
      const { lane, clock } = openLane(script.post);
      lane.offer([item('a')]);
      await lane.idle();
      expect(script.bodies).toHaveLength(501);
      expect(new Set(script.bodies).size).toBe(1);
      expect(Math.max(...clock.slept)).toBeLessThanOrEqual(5_000);
      expect(Math.max(...clock.slept)).toBeGreaterThan(4_000);
      expect(lane.counts()).toMatchObject({ delivered: 1, pending: 0, rejected: {} });
    },
  );

  test('a broken connection is retried; the backoff starts small, and again so after a success', async () => {
    const script = scriptedPost([...Array.from({ length: 20 }, () => UNREACHABLE), OK, UNREACHABLE]);
    const { lane, clock } = openLane(script.post, { random: () => 0.999 });
    lane.offer([item('a')]);
    await lane.idle();
    lane.offer([item('b')]);
    await lane.idle();
    expect(clock.slept.slice(0, 3).map(Math.round)).toEqual([100, 200, 400]);
    expect(Math.round(clock.slept.at(-1)!)).toBe(100);
    expect(lane.counts()).toMatchObject({ delivered: 2 });
  });

  test('Retry-After is honoured, however long', async () => {
    const week_ms = 7 * 24 * 3_600_000;
    const script = scriptedPost([answered(503, '', week_ms), answered(429, '', 1_000)]);
    const { lane, clock } = openLane(script.post);
    lane.offer([item('a')]);
    await lane.idle();
    expect(clock.slept).toEqual([week_ms, 1_000]);
  });

  test('the body of a batch is encoded only once', async () => {
    let encoded = 0;
    const encode = (payloads: string[]) => {
      encoded += 1;
      return Buffer.from(`${encoded} ${payloads.join()}`);
    };
    const script = scriptedPost([answered(503), UNREACHABLE, answered(429)]);
    const { lane } = openLane(script.post, { encode });
    lane.offer(items(2));
    await lane.idle();
    expect(new Set(script.bodies)).toEqual(new Set(['1 i0,i1']));
  });

  test('a batch that times out is retried in halves', async () => {
    const slow = (body: string) => (read(body).length > 2 ? TIMED_OUT : OK);
    const script = scriptedPost([], slow);
    const { lane } = openLane(script.post);
    lane.offer(items(8));
    await lane.idle();
    expect(lane.counts()).toMatchObject({ delivered: 8, rejected: {} });
    expect(script.bodies.map((body) => read(body).length)).toEqual([8, 4, 2, 2, 4, 2, 2]);
  });
});

describe('final responses', () => {
  test.each([400, 401, 404, 408, 500, 501, 302])('status %i is never retried', async (status) => {
    const script = scriptedPost([answered(status, 'no such\nthing')]);
    const { lane, events } = openLane(script.post);
    lane.offer(items(3));
    await lane.idle();
    expect(script.bodies).toHaveLength(1);
    expect(lane.counts()).toMatchObject({ delivered: 0, pending: 0, rejected: { [`http_${status}`]: 3 } });
    expect(losses(events)).toEqual([
      {
        kind: 'lost',
        fate: 'rejected',
        reason: `http_${status}`,
        count: 3,
        message: `HTTP ${status}: no such thing`,
      },
    ]);
  });

  test('413 splits the batch in order; an item that is too large alone is rejected', async () => {
    const script = scriptedPost([], (body) =>
      read(body).length > 2 || body.includes('huge') ? answered(413) : OK,
    );
    const { lane } = openLane(script.post);
    lane.offer([...items(4), item('huge'), ...items(3, 'j')]);
    await lane.idle();
    expect(lane.counts()).toMatchObject({ produced: 8, delivered: 7, rejected: { http_413: 1 } });
    const taken = script.bodies.map(read).filter((batch) => batch.length <= 2 && !batch.includes('huge'));
    expect(taken.flat()).toEqual(['i0', 'i1', 'i2', 'i3', 'j0', 'j1', 'j2']);
  });

  test.each([
    { rejectedSpans: '2', errorMessage: 'no name' },
    { rejectedSpans: 2, errorMessage: 'no name' },
  ])('items that a 200 reports as rejected are not retried: %o', async (partialSuccess) => {
    const script = scriptedPost([answered(200, { partialSuccess })]);
    const { lane, events } = openLane(script.post);
    lane.offer(items(5));
    await lane.idle();
    expect(script.bodies).toHaveLength(1);
    expect(lane.counts()).toMatchObject({ delivered: 3, pending: 0, rejected: { partial_success: 2 } });
    expect(losses(events)).toMatchObject([{ reason: 'partial_success', count: 2, message: 'no name' }]);
  });

  test.each([
    '',
    'OK',
    '{',
    '{}',
    '{"store_available": false}',
    '{"partialSuccess":{}}',
    '{"partialSuccess":null}',
    '{"partialSuccess":{"rejectedSpans":"0"}}',
    '{"partialSuccess":{"rejectedSpans":"many"}}',
    '\u0000\u0001',
  ])('a 200 with the body %j accepted everything', async (body) => {
    const { lane } = openLane(scriptedPost([answered(200, body)]).post);
    lane.offer(items(2));
    await lane.idle();
    expect(lane.counts()).toMatchObject({ delivered: 2, rejected: {} });
  });

  test('a partial success with more rejections than items does not unbalance the counts', async () => {
    const { lane, events } = openLane(
      scriptedPost([answered(200, { partialSuccess: { rejectedSpans: 99 } })]).post,
    );
    lane.offer([...items(2), preview('s', 1)]);
    await lane.idle();
    expect(lane.counts()).toMatchObject({ produced: 2, delivered: 0, rejected: { partial_success: 2 } });
    expect(losses(events)).toMatchObject([{ count: 2, message: 'the backend gave no reason' }]);
  });
});

describe('the memory limit', () => {
  test('over it the oldest queued items are dropped and counted', async () => {
    const held = deferred<Outcome>();
    const script = scriptedPost([() => held.promise]);
    const { lane, events } = openLane(script.post, { limit_bytes: 1_000 });
    lane.offer([item('first')]);
    await Promise.resolve();
    lane.offer(items(12));
    expect(lane.counts()).toEqual({
      produced: 13,
      delivered: 0,
      pending: 10,
      rejected: {},
      dropped: { memory_full: 3 },
    });
    held.resolve(OK);
    await lane.idle();
    expect(script.bodies.flatMap(read)).toEqual([
      'first',
      ...Array.from({ length: 9 }, (_, index) => `i${index + 3}`),
    ]);
    expect(losses(events)).toMatchObject([{ fate: 'dropped', reason: 'memory_full', count: 3 }]);
  });

  test('freed memory is used again', async () => {
    const { lane } = openLane(scriptedPost([]).post, { limit_bytes: 300 });
    for (let round = 0; round < 5; round += 1) {
      lane.offer(items(3));
      await lane.idle();
    }
    expect(lane.counts()).toMatchObject({ produced: 15, delivered: 15, dropped: {} });
  });
});

describe('previews', () => {
  test('a newer preview replaces a queued one, and the final copy removes it', async () => {
    const held = deferred<Outcome>();
    const script = scriptedPost([() => held.promise]);
    const { lane } = openLane(script.post);
    lane.offer([item('busy')]);
    await Promise.resolve();
    lane.offer([preview('a', 1), preview('b', 1), preview('a', 2), final('b'), preview('b', 2)]);
    held.resolve(OK);
    await lane.idle();
    expect(read(script.bodies[1]!)).toEqual(['a preview 2', 'b final']);
    expect(lane.counts()).toMatchObject({ produced: 2, delivered: 2, pending: 0 });
  });

  test('no preview is sent after the final copy, however late it is offered', async () => {
    const script = scriptedPost([]);
    const { lane } = openLane(script.post);
    lane.offer([preview('a', 1)]);
    await lane.idle();
    lane.offer([final('a')]);
    await lane.idle();
    lane.offer([preview('a', 2)]);
    await lane.idle();
    expect(script.bodies.flatMap(read)).toEqual(['a preview 1', 'a final']);
  });
});

describe('the size of batches', () => {
  /** Sizes of the batches sent to a backend that takes `fixed_ms` per request and `each_ms` per item. */
  async function sizesFor(
    fixed_ms: number,
    each_ms: number,
    count: number,
    max_items = 512,
  ): Promise<number[]> {
    const script = scriptedPost([], (body) => {
      opened.clock.advance(fixed_ms + each_ms * read(body).length);
      return OK;
    });
    const opened = openLane(script.post, { max_items, limit_bytes: 1e9 });
    opened.lane.offer(items(count));
    await opened.lane.idle();
    return script.bodies.map((body) => read(body).length);
  }

  test('grows to its maximum when responses are quick, also with a long round trip', async () => {
    expect(Math.max(...(await sizesFor(1, 0.01, 20_000)))).toBe(512);
    expect(Math.max(...(await sizesFor(300, 0.01, 20_000)))).toBe(512);
  });

  test('stays small when a response takes about 100 ms of work', async () => {
    const sizes = (await sizesFor(5, 2, 5_000)).slice(10);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(100);
    expect(sizes.reduce((total, size) => total + size, 0) / sizes.length).toBeGreaterThan(20);
  });

  test('never exceeds the maximum of the lane', async () => {
    expect(Math.max(...(await sizesFor(1, 0, 500, 16)))).toBe(16);
  });
});

describe('poison', () => {
  const poisoned = (body: string) =>
    read(body).some((name) => name.startsWith('poison')) ? answered(503, 'not stored', 1_000) : OK;
  const mixed = (count: number, poison_at: number[]) =>
    items(count).map((good, index) => (poison_at.includes(index) ? item(`poison${index}`) : good));

  test.each([
    { count: 512, poison_at: [100] },
    { count: 200, poison_at: [3, 50, 51, 199] },
    { count: 64, poison_at: [0, 1, 2] },
    { count: 2, poison_at: [0] },
  ])(
    'is found among $count at $poison_at and rejected within 30 s, and nothing else is',
    async ({ count, poison_at }) => {
      const { lane, clock, events } = openLane(scriptedPost([], poisoned).post);
      const start_ms = clock.now();
      lane.offer(mixed(count, poison_at));
      await lane.idle();
      expect(lane.counts()).toMatchObject({
        delivered: count - poison_at.length,
        pending: 0,
        rejected: { poison: poison_at.length },
      });
      expect(losses(events)).toHaveLength(poison_at.length);
      expect(clock.now() - start_ms).toBeLessThanOrEqual(30_000);
    },
  );

  test('does not hold up later items', async () => {
    const script = scriptedPost([], poisoned);
    const { lane } = openLane(script.post);
    lane.offer([item('poison')]);
    while (script.bodies.length < 5) await Promise.resolve();
    lane.offer(items(3));
    await lane.idle();
    expect(lane.counts()).toMatchObject({ delivered: 3, rejected: { poison: 1 } });
  });

  test.each([
    [1, [1]],
    [1, [4, 9, 14]],
    [2, [0]],
    [1, [0, 1, 16]],
    [3, [8]],
  ])('is found if the first %i items are poison, and later ones at %j', async (first, poison_at) => {
    const script = scriptedPost([], poisoned);
    const { lane, clock } = openLane(script.post);
    const start_ms = clock.now();
    lane.offer(mixed(first, [...Array(first).keys()]));
    while (script.bodies.length < 4) await Promise.resolve();
    lane.offer(mixed(17, poison_at));
    await lane.idle();
    expect(lane.counts()).toMatchObject({
      delivered: 17 - poison_at.length,
      pending: 0,
      rejected: { poison: first + poison_at.length },
    });
    expect(clock.now() - start_ms).toBeLessThanOrEqual(30_000);
  });

  test('is not seen in an outage, however long and whatever was sent before', async () => {
    const outage = (length: number) => Array.from({ length }, () => answered(503, '', 1_000));
    const script = scriptedPost([OK, ...outage(300)]);
    const { lane } = openLane(script.post);
    lane.offer([item('before')]);
    await lane.idle();
    lane.offer(items(400));
    await lane.idle();
    expect(lane.counts()).toMatchObject({ delivered: 401, rejected: {} });
  });

  property.prop([fc.integer(), fc.double({ min: 0.1, max: 0.4, noNaN: true })], { numRuns: 60 })(
    'is not seen in a backend that refuses at random: nothing is lost',
    async (seed, rate) => {
      const random = seededRandom(seed);
      const { lane } = openLane(scriptedPost([], () => (random() < rate ? answered(503) : OK)).post);
      lane.offer(items(300));
      await lane.idle();
      expect(lane.counts()).toMatchObject({ delivered: 300, rejected: {} });
    },
  );
});

describe('laws', () => {
  const other = fc.constantFrom<Outcome>(
    OK,
    UNREACHABLE,
    TIMED_OUT,
    answered(429, '', 2_000),
    answered(400),
    answered(413),
    answered(200, { partialSuccess: { rejectedSpans: '1' } }),
  );
  const outcome = fc.oneof(fc.constant(OK), fc.constant(answered(503)), other);
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('final' as const), id: fc.nat(30) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('preview' as const), id: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const), id: fc.nat(3) }) },
  );

  property.prop([fc.array(outcome, { maxLength: 60 }), fc.array(step, { maxLength: 120 }), fc.integer()], {
    numRuns: 500,
  })(
    'produced = delivered + pending + rejected + dropped at any moment, and no preview follows its final copy',
    async (outcomes, steps, seed) => {
      const ended = new Set<string>();
      const stale: string[] = [];
      const script = scriptedPost(outcomes);
      const post = async (body: Uint8Array) => {
        expect(balance(lane.counts())).toBe(0);
        for (const name of read(Buffer.from(body).toString())) {
          const [id = '', kind] = name.split(' ');
          if (kind === 'final') ended.add(id);
          else if (ended.has(id)) stale.push(id);
        }
        return script.post(body);
      };
      const { lane } = openLane(post, { limit_bytes: 2_500, random: seededRandom(seed) });
      const finals = new Set<number>();
      for (const [version, { kind, id }] of steps.entries()) {
        if (kind === 'turn') for (let turn = 0; turn < id; turn += 1) await Promise.resolve();
        else if (kind === 'preview') lane.offer([preview(`s${id}`, version)]);
        else if (!finals.has(id)) {
          finals.add(id);
          lane.offer([final(`s${id}`)]);
        }
        expect(balance(lane.counts())).toBe(0);
      }
      await lane.idle();
      const counts = lane.counts();
      expect(balance(counts)).toBe(0);
      expect(counts).toMatchObject({ produced: finals.size, pending: 0 });
      expect(stale).toEqual([]);
    },
  );
});
