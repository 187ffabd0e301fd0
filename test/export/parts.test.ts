import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { Lane, type LaneOptions } from '../../src/export/lane.js';
import { Outbox } from '../../src/export/outbox.js';
import type { LaneItem } from '../../src/export/queue.js';
import type { Outcome } from '../../src/export/verdict.js';
import type { Answers } from '../../src/model/delivery.js';
import { type RecordChange, splitRecord } from '../../src/model/record.js';
import { answered, deferred, fakeClock, OK, seededRandom, TIMED_OUT, UNREACHABLE } from './fakes.js';

/** What is collected is a text here: "cost@1 tokens@1" are two points, each of a series and a time. */
const pointsOf = (text: string): string[] => text.split(' ');
const seriesOf = (point: string): string => point.slice(0, point.indexOf('@'));
const timeOf = (point: string): number => Number(point.slice(point.indexOf('@') + 1));
const collected = (series: string[], time: number): string =>
  series.map((name) => `${name}@${time}`).join(' ');
const toItem = (text: string): LaneItem<string> => ({
  payload: text,
  bytes: text.length,
  count: pointsOf(text).length,
});
const split = (text: string): LaneItem<string>[] => {
  const whole = {};
  return pointsOf(text).map((point) => ({ ...toItem(point), part: { series: seriesOf(point), whole } }));
};
const pack = (texts: string[]): Uint8Array => Buffer.from(texts.join(' '));

const isPoison = (point: string): boolean => point.startsWith('poison');
const innocents = (count: number): string[] => Array.from({ length: count }, (_, index) => `s${index}`);

/** A lane of collected requests in simulated time. */
function openLane(answer: (points: string[], now_ms: number) => Outcome, onPass = (_now_ms: number) => {}) {
  const clock = fakeClock();
  const bodies: string[] = [];
  const delivered: { point: string; ms: number }[] = [];
  /** When each point was given up. */
  const lost_ms: number[] = [];
  const lane = new Lane<string>({
    signal: 'metrics',
    encode: pack,
    split,
    in_order: true,
    async post(body) {
      const text = Buffer.from(body).toString();
      bodies.push(text);
      const outcome = answer(pointsOf(text), clock.now());
      clock.advance(5);
      if (outcome === OK) for (const point of pointsOf(text)) delivered.push({ point, ms: clock.now() });
      onPass(clock.now());
      return outcome;
    },
    max_items: 1,
    limit_bytes: 1e9,
    now: clock.now,
    random: seededRandom(),
    async sleep(ms) {
      await clock.sleep(ms);
      onPass(clock.now());
    },
    report(event) {
      if (event.kind !== 'lost') return;
      for (let count = 0; count < event.count; count += 1) lost_ms.push(clock.now());
    },
  });
  return { lane, clock, bodies, delivered, lost_ms, points: () => delivered.map(({ point }) => point) };
}

const refusesPoison = (points: string[]): Outcome =>
  points.some(isPoison) ? answered(503, 'no', 1_000) : OK;

/** Of each series every point once, and none after a newer one. */
function expectInOrder(points: string[]): void {
  const last = new Map<string, number>();
  for (const point of points) {
    expect(timeOf(point)).toBeGreaterThan(last.get(seriesOf(point)) ?? 0);
    last.set(seriesOf(point), timeOf(point));
  }
}

describe('poison in what was collected', () => {
  test.each([1, 3, 6])('%d series in every collection: each gets through but for them', async (poisons) => {
    const series = [...innocents(16), ...Array.from({ length: poisons }, (_, index) => `poison${index}`)];
    const start_ms = fakeClock().now();
    let collections = 0;
    const opened = openLane(refusesPoison, (now_ms) => {
      while (collections < 12 && start_ms + collections * 10_000 <= now_ms)
        opened.lane.offer([toItem(collected(series, ++collections))]);
    });
    const { lane, delivered, clock } = opened;
    while (collections < 12) {
      clock.advance(Math.max(0, start_ms + collections * 10_000 - clock.now()));
      lane.offer([toItem(collected(series, ++collections))]);
      await lane.idle();
    }
    expect(lane.counts()).toMatchObject({
      delivered: 12 * 16,
      pending: 0,
      rejected: { poison: 12 * poisons },
    });
    expectInOrder(opened.points());
    expect(opened.lost_ms[poisons - 1]).toBeLessThan(start_ms + 30_000);
    for (const { point, ms } of delivered) {
      const waited_ms = ms - start_ms - (timeOf(point) - 1) * 10_000;
      expect(waited_ms).toBeLessThan(timeOf(point) < 4 ? 30_000 : 3_000);
    }
  });

  test('one that is refused alone does not hold what comes after, but for its own series', async () => {
    const { lane, points } = openLane(refusesPoison);
    lane.offer(
      [collected(['poison'], 1), collected(['poison', 'a'], 2), collected(['a', 'b'], 3)].map(toItem),
    );
    await lane.idle();
    expect(points()).toEqual(['a@2', 'a@3', 'b@3']);
    expect(lane.counts()).toMatchObject({ pending: 0, rejected: { poison: 2 } });
  });

  test('a series that the backend takes again is taken from then on', async () => {
    let is_mended = false;
    const { lane, points, bodies } = openLane((points) => (is_mended ? OK : refusesPoison(points)));
    const series = ['a', 'poison1', 'poison2', 'b'];
    lane.offer([toItem(collected(series, 1))]);
    await lane.idle();
    is_mended = true;
    lane.offer([toItem(collected(series, 2)), toItem(collected(series, 3))]);
    await lane.idle();
    expect(points()).toHaveLength(2 + 4 + 4);
    expect(bodies.at(-1)).toBe(collected(series, 3));
    expect(lane.counts()).toMatchObject({ pending: 0, rejected: { poison: 2 } });
  });

  test('in an outage nothing is given up, and nothing is taken out of order', async () => {
    const until_ms = fakeClock().now() + 120_000;
    const opened = openLane((_, now_ms) => (now_ms < until_ms ? answered(503) : OK));
    const series = innocents(20);
    opened.lane.offer(Array.from({ length: 30 }, (_, index) => toItem(collected(series, index + 1))));
    await opened.lane.idle();
    expect(opened.lane.counts()).toMatchObject({ delivered: 600, pending: 0, rejected: {}, dropped: {} });
    expectInOrder(opened.points());
  });
});

describe('what is too much at once', () => {
  test('is halved, down to single points', async () => {
    const { lane, points, bodies } = openLane((points) =>
      points.length > 2 || points.includes('large@1') ? answered(413) : OK,
    );
    lane.offer([toItem('a@1 b@1 large@1 c@1 d@1'), toItem('a@2 b@2')]);
    await lane.idle();
    expect(points()).toEqual(['a@1', 'b@1', 'c@1', 'd@1', 'a@2', 'b@2']);
    expect(bodies[0]).toBe('a@1 b@1 large@1 c@1 d@1');
    expect(lane.counts()).toMatchObject({ produced: 7, delivered: 6, pending: 0, rejected: { http_413: 1 } });
  });

  test('where no answer comes it is repeated as it is, and halved when none comes again', async () => {
    const { lane, points, bodies } = openLane((points) => (points.length > 2 ? TIMED_OUT : OK));
    lane.offer([toItem('a@1 b@1 c@1 d@1')]);
    await lane.idle();
    expect(bodies).toEqual(['a@1 b@1 c@1 d@1', 'a@1 b@1 c@1 d@1', 'a@1 b@1', 'c@1 d@1']);
    expect(points()).toHaveLength(4);
  });
});

const fault = fc.constantFrom(answered(503, '', 1_000), answered(503), answered(413), UNREACHABLE, TIMED_OUT);
const collection = fc.uniqueArray(fc.constantFrom(...innocents(8), 'poison1', 'poison2'), { minLength: 1 });
property.prop(
  [fc.array(collection, { minLength: 1, maxLength: 12 }), fc.array(fc.option(fault), { maxLength: 40 })],
  {
    numRuns: 300,
  },
)(
  'whatever is answered, each point is answered for once, and none is taken after a newer one',
  async (series, faults) => {
    const script = [...faults];
    const all = series.map((names, index) => collected(names, index + 1));
    let time = all.length;
    let next_ms = fakeClock().now();
    const opened = openLane(
      (points) => script.shift() ?? refusesPoison(points),
      (now_ms) => {
        if (now_ms - fakeClock().now() > 3_600_000) void opened.lane.close();
        // What passes meanwhile tells poison from an outage.
        if (now_ms < next_ms || opened.lane.counts().pending === 0) return;
        next_ms = now_ms + 10_000;
        opened.lane.offer([toItem(collected(['later'], ++time))]);
      },
    );
    const { lane, points } = opened;
    lane.offer(all.map(toItem));
    await lane.idle();
    const { produced, delivered, pending, rejected } = lane.counts();
    expect(pending).toBe(0);
    expect(delivered + (rejected.poison ?? 0) + (rejected.http_413 ?? 0)).toBe(produced);
    expect(points()).toHaveLength(delivered);
    expect(points().filter(isPoison)).toEqual([]);
    expectInOrder(points());
  },
);

/** A lane that keeps what is pending. */
function openKept(
  disk: { records: Map<string, Uint8Array>; answers: Answers },
  post: LaneOptions<string>['post'],
) {
  const outbox = new Outbox<string>({
    destination: 'a',
    signal: 'metrics',
    max_items: 1,
    pack,
    unpack: (bytes) => [Buffer.from(bytes).toString()],
    toItem,
    split,
    identify: () => [],
    read: (key) => disk.records.get(key),
    redact: (message) => message,
    now: () => 1,
  });
  const lane = new Lane<string>({
    signal: 'metrics',
    encode: pack,
    split,
    in_order: true,
    post,
    outbox,
    max_items: 1,
    limit_bytes: 1e9,
    now: fakeClock().now,
    random: seededRandom(),
    sleep: () => new Promise((resolve) => setImmediate(resolve)),
    report: () => undefined,
  });
  const apply = (changes: readonly RecordChange[]): void => {
    for (const { key, value } of changes) {
      if (value === undefined) disk.records.delete(key);
      else disk.records.set(key, value);
    }
  };
  const saved = [...disk.records]
    .map(([key, value]) => ({ key, value }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  lane.restore(
    outbox.restore(
      saved.filter(({ key }) => key.startsWith(outbox.prefix)),
      disk.answers,
    ),
  );
  return {
    lane,
    save(ok = true): void {
      const capture = outbox.capture();
      while (!capture.advance(2));
      if (ok) {
        apply(capture.changes);
        disk.answers = { ids: new Uint8Array(), places: {} };
      }
      capture.written(ok);
    },
    flush(): void {
      const { changes, answers } = outbox.takeAnswers();
      apply(changes);
      for (const [key, places] of Object.entries(answers.places))
        disk.answers.places[key] = [...(disk.answers.places[key] ?? []), ...places];
    },
    collect(text: string): void {
      lane.hold([toItem(text)]);
    },
  };
}

const emptyDisk = () => ({
  records: new Map<string, Uint8Array>(),
  answers: { ids: new Uint8Array(), places: {} } as Answers,
});

describe('a restart between the answers for the parts', () => {
  /** Takes the first half of the first collection, then never answers again. */
  async function halfTaken(disk: ReturnType<typeof emptyDisk>) {
    const stuck = deferred<void>();
    const taken: string[] = [];
    const opened = openKept(disk, async (body, signal) => {
      const points = pointsOf(Buffer.from(body).toString());
      if (points.length > 2) return answered(413);
      if (taken.length === 0) {
        taken.push(...points);
        return OK;
      }
      stuck.resolve();
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve(UNREACHABLE)));
    });
    opened.collect('a@1 b@1 c@1 d@1');
    opened.collect('a@2 b@2');
    opened.save();
    opened.lane.release();
    await stuck.promise;
    expect(taken).toEqual(['a@1', 'b@1']);
    return opened;
  }
  const restarted = async (disk: ReturnType<typeof emptyDisk>) => {
    const bodies: string[] = [];
    const { lane } = openKept(disk, async (body) => {
      bodies.push(Buffer.from(body).toString());
      return OK;
    });
    await lane.idle();
    return { bodies, counts: lane.counts() };
  };

  test.each([
    ['after the answers were noted', ['flush']],
    ['after a checkpoint', ['save']],
    ['after a checkpoint that failed', ['fail', 'flush']],
    ['after one that failed and one that did not', ['fail', 'save']],
  ] as const)('%s: the rest is sent as one request, first, and counted', async (_, steps) => {
    const disk = emptyDisk();
    const first = await halfTaken(disk);
    for (const step of steps) {
      if (step === 'flush') first.flush();
      else first.save(step === 'save');
    }
    await first.lane.close();
    const { bodies, counts } = await restarted(disk);
    expect(bodies).toEqual(['c@1 d@1', 'a@2 b@2']);
    expect(counts).toMatchObject({ produced: 4, delivered: 4, pending: 0, dropped: {} });
  });

  test('a part that was given up is a dead letter of its own', async () => {
    const disk = emptyDisk();
    const opened = openKept(disk, async (body) =>
      Buffer.from(body).toString() === 'b@1' || pointsOf(Buffer.from(body).toString()).length > 1
        ? answered(413)
        : OK,
    );
    opened.collect('a@1 b@1 c@1');
    opened.save();
    opened.lane.release();
    await opened.lane.idle();
    opened.flush();
    const [[key, value], ...others] = [...disk.records] as [[string, Uint8Array]];
    expect(others).toEqual([]);
    expect(key).toMatch(/^dead\//);
    expect(splitRecord(value)).toMatchObject({ header: { reason: 'http_413', rejected: 1, counts: [1] } });
    expect(Buffer.from(splitRecord(value).body).toString()).toBe('b@1');
  });
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('collect' as const), series: collection }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('save' as const), ok: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('turn' as const), answer: fc.option(fault) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
);

property.prop([fc.array(step, { maxLength: 60 })], { numRuns: 200 })(
  'wherever it breaks off, every point arrives, in order, and once where its answer was noted',
  async (steps) => {
    const taken: string[] = [];
    let trouble: Outcome | null = null;
    const post = async (body: Uint8Array): Promise<Outcome> => {
      const points = pointsOf(Buffer.from(body).toString());
      if (trouble !== null && points.length > 1) return trouble;
      taken.push(...points);
      return OK;
    };
    let disk = emptyDisk();
    let opened = openKept(disk, post);
    let time = 0;
    const kept: string[] = [];
    let unsaved: string[] = [];
    const settled = new Map<string, number>();
    let process_start = 0;
    const settle = (): void => {
      // The answers to an earlier process that were not noted are gone with it.
      for (const point of taken.slice(process_start))
        settled.set(point, taken.filter((other) => other === point).length);
    };
    const restart = async (): Promise<void> => {
      const left = structuredClone(disk);
      await opened.lane.close();
      disk = left;
      process_start = taken.length;
      opened = openKept(disk, post);
    };
    for (const each of steps) {
      if (each.kind === 'save' || each.kind === 'flush') await turn();
      if (each.kind === 'collect') {
        const text = collected(each.series, ++time);
        unsaved.push(...pointsOf(text));
        opened.collect(text);
      } else if (each.kind === 'save') {
        opened.save(each.ok);
        if (!each.ok) continue;
        kept.push(...unsaved);
        unsaved = [];
        settle();
        opened.lane.release();
      } else if (each.kind === 'flush') {
        opened.flush();
        settle();
      } else if (each.kind === 'turn') {
        trouble = each.answer;
        await turn();
      } else {
        // What was collected and not saved is collected again of the journal, which is not looked at here.
        unsaved = [];
        await restart();
      }
    }
    await restart();
    trouble = null;
    await opened.lane.idle();
    expect(opened.lane.counts()).toMatchObject({ pending: 0, rejected: {}, dropped: {} });
    expect(new Set(taken)).toEqual(new Set(kept));
    for (const [point, times] of settled)
      expect(taken.filter((other) => other === point)).toHaveLength(times);
    expectInOrder([...new Set(taken)]);
  },
);
