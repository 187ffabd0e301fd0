import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { Backlog } from '../../src/export/backlog.js';
import type { LaneItem } from '../../src/export/item.js';
import { Lane, type LaneOptions } from '../../src/export/lane.js';
import { Outbox } from '../../src/export/outbox.js';
import type { Outcome } from '../../src/export/verdict.js';
import type { Answers, SignalCounts } from '../../src/model/delivery.js';
import { joinRecord, type RecordChange, splitRecord } from '../../src/model/record.js';
import { decodeAnswers, encodeAnswers, mergeAnswers } from '../../src/persistence/answer-log.js';
import { answered, fakeClock, OK, seededRandom, UNREACHABLE } from './fakes.js';

const toItem = (payload: string, count = 1): LaneItem<string> => ({ payload, bytes: 100, count });
const read = (body: Uint8Array): string[] => JSON.parse(Buffer.from(body).toString()) as string[];
const pack = (payloads: string[]): Uint8Array => Buffer.from(JSON.stringify(payloads));

/** The records of a store, and the answer log beside it. */
interface Disk {
  records: Map<string, Uint8Array>;
  answers: Answers[];
}

const emptyDisk = (): Disk => ({ records: new Map(), answers: [] });
const copyOf = ({ records, answers }: Disk): Disk => ({ records: new Map(records), answers: [...answers] });

function apply({ records }: Disk, changes: readonly RecordChange[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) records.delete(key);
    else records.set(key, value);
  }
}

/** The answers as the next process reads them from the logs. */
const merge = (logs: Answers[]): Answers => {
  const records = logs.map((log) =>
    encodeAnswers({ at_ms: 0, answers: [{ destination: 'a/b', signal: 'traces', ...log }] }),
  );
  return mergeAnswers(records.map(decodeAnswers))('a/b', 'traces');
};

function openLane(disk: Disk, post: LaneOptions<string>['post'], changes: Partial<LaneOptions<string>> = {}) {
  const clock = fakeClock();
  const outbox = new Outbox<string>({
    destination: 'a/b',
    signal: 'traces',
    max_items: 4,
    pack,
    unpack: read,
    toItem,
    identify: ({ payload }) => [payload],
    read: (key) => disk.records.get(key),
    redact: (message) => message.replace('secret', '…'),
    now: clock.now,
  });
  const lane = new Lane<string>({
    signal: 'traces',
    encode: pack,
    post,
    outbox,
    max_items: 4,
    limit_bytes: 1_000_000,
    now: clock.now,
    random: seededRandom(),
    // Waits for one turn of the event loop, so that retries of a backend that is down do not block it.
    sleep: () => new Promise((resolve) => setImmediate(resolve)),
    report: () => undefined,
    ...changes,
  });
  const saved = [...disk.records]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ key, value }));
  lane.restore(
    outbox.restore(
      saved.filter(({ key }) => key.startsWith(outbox.prefix)),
      merge(disk.answers),
    ),
  );
  return {
    lane,
    outbox,
    clock,
    /** Takes a checkpoint, a few entries at a time. */
    save(ok = true): void {
      const capture = outbox.capture();
      while (!capture.advance(3));
      if (ok) {
        apply(disk, capture.changes);
        disk.answers = [];
      }
      capture.written(ok);
      lane.relieve();
    },
    flush(): void {
      const { changes: outgoing, answers } = outbox.takeAnswers();
      apply(disk, outgoing);
      disk.answers.push(answers);
    },
  };
}

/** A backend that accepts everything while it is up; `taken`: what it has accepted. */
function backend() {
  const taken: string[] = [];
  const state = { is_up: true };
  return {
    taken,
    state,
    async post(body: Uint8Array): Promise<Outcome> {
      if (!state.is_up) return UNREACHABLE;
      taken.push(...read(body));
      return OK;
    },
  };
}

/** A backend that never answers: what is offered stays pending. */
const silent: LaneOptions<string>['post'] = (_body, signal) =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(UNREACHABLE)));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const names = (count: number, prefix = 'i'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const balance = ({ produced, delivered, pending, rejected, dropped }: SignalCounts): number =>
  produced -
  delivered -
  pending -
  [...Object.values(rejected), ...Object.values(dropped)].reduce((a, b) => a + b, 0);

describe('pending data', () => {
  test('does not include a preview of a span that was answered as ended, whenever its end is replayed', async () => {
    const copy = (id: string, count: number): LaneItem<string> => ({ payload: id, bytes: 100, count, id });
    const disk = emptyDisk();
    const { taken, post } = backend();
    const first = openLane(disk, post);
    first.lane.offer([copy('a', 0), copy('b', 0), copy('c', 0)]);
    await first.lane.idle();
    first.lane.offer([copy('a', 1), copy('b', 1)]);
    await first.lane.idle();
    first.flush();
    taken.length = 0;
    const second = openLane(disk, post);
    second.lane.offer([copy('a', 0), copy('b', 0), copy('c', 0)]);
    second.lane.offer([copy('a', 1)]);
    await second.lane.idle();
    second.lane.offer([copy('b', 1)]);
    await second.lane.idle();
    expect(taken).toEqual(['c']);
  });

  test('over the memory limit stays until it is stored, and is dropped only if it can not be stored', async () => {
    const disk = emptyDisk();
    const { lane, save } = openLane(disk, silent, { limit_bytes: 1_000 });
    lane.offer(names(50).map((name) => toItem(name)));
    expect(lane.counts()).toMatchObject({ pending: 50, dropped: {} });
    expect(lane.isPressed).toBe(true);
    save();
    expect(lane.isPressed).toBe(false);
    lane.offer(names(50, 'j').map((name) => toItem(name)));
    save(false);
    expect(lane.counts()).toMatchObject({ pending: 100, dropped: {} });
    lane.setWritable(false);
    expect(lane.counts()).toMatchObject({ pending: 60, dropped: { memory_full: 40 } });
    await lane.close();
  });

  test('is dropped with its process if neither it nor its input is on the disk', async () => {
    const disk = emptyDisk();
    const { lane, save } = openLane(disk, silent);
    const offer = (prefix: string, is_recoverable: boolean): void =>
      lane.offer(
        names(3, prefix).map((name) => toItem(name)),
        is_recoverable,
      );
    offer('written', false);
    save();
    offer('kept', true);
    offer('lost', false);
    save(false);
    lane.hold([toItem('collected', 5)], false);
    await lane.close();
    lane.dropUnstored('here could not be written');
    lane.dropUnstored('here could not be written');
    expect(lane.counts()).toMatchObject({ produced: 14, pending: 6, dropped: { store_unwritable: 8 } });
    const second = openLane(disk, silent);
    expect(second.lane.counts()).toMatchObject({ produced: 3, pending: 3 });
    await second.lane.close();
  });

  test('is sent by the next process, and counted as produced there', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    first.lane.offer(names(10).map((name) => toItem(name)));
    first.save();
    await first.lane.close();
    const { taken, post } = backend();
    const second = openLane(disk, post);
    await second.lane.idle();
    expect(taken).toEqual(names(10));
    expect(second.lane.counts()).toMatchObject({ produced: 10, delivered: 10, pending: 0 });
    second.save();
    expect(disk.records.size).toBe(0);
  });

  test('is kept on the disk if later processes store more beside it', async () => {
    const disk = emptyDisk();
    for (const prefix of ['a', 'b', 'c']) {
      const { lane, save } = openLane(disk, silent);
      lane.offer(names(3, prefix).map((name) => toItem(name)));
      save();
      await lane.close();
    }
    const { taken, post } = backend();
    await openLane(disk, post).lane.idle();
    expect(taken).toEqual(['a', 'b', 'c'].flatMap((prefix) => names(3, prefix)));
  });

  test('has an age, which it keeps after a restart', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    expect(first.outbox.since_ms).toBeUndefined();
    first.lane.offer([toItem('a')]);
    const since_ms = first.outbox.since_ms;
    first.save();
    expect(first.outbox.since_ms).toBe(since_ms);
    expect(openLane(disk, silent).outbox.since_ms).toBe(since_ms);
  });

  test('keeps its age while it is stored, stored again, and divided', () => {
    const { outbox, clock, save } = openLane(emptyDisk(), silent);
    const [one, other] = [toItem('one'), toItem('other', 2)];
    const parts = [toItem('p'), toItem('q')];
    const since_ms = clock.now();
    for (const item of [one, other]) outbox.add(item);
    clock.advance(1_000);
    const capture = outbox.capture();
    expect(outbox.since_ms).toBe(since_ms);
    while (!capture.advance(3));
    capture.written(true);
    outbox.settle(one);
    save();
    expect(outbox.since_ms).toBe(since_ms);
    outbox.divide(other, parts);
    save();
    expect(outbox.since_ms).toBe(since_ms);
    for (const part of parts) outbox.settle(part);
    expect(outbox.since_ms).toBeUndefined();
    const unsaved = toItem('unsaved', 2);
    outbox.add(unsaved);
    const unsaved_ms = clock.now();
    clock.advance(1_000);
    outbox.divide(unsaved, parts);
    expect(outbox.since_ms).toBe(unsaved_ms);
  });

  test('is as old as its oldest item, whatever has to be stored again', () => {
    const { outbox, clock, save } = openLane(emptyDisk(), silent);
    const since_ms = clock.now();
    const add = (count: number): LaneItem<string>[] => {
      const items = names(count).map((name) => toItem(name));
      for (const item of items) outbox.add(item);
      clock.advance(1_000);
      return items;
    };
    // Together more than one record can hold.
    const oldest = add(200);
    add(200);
    save(false);
    expect(outbox.since_ms).toBe(since_ms);
    save();
    const newest = add(2);
    save();
    for (const [item] of [oldest, newest]) outbox.settle(item!);
    const capture = outbox.capture();
    expect(outbox.since_ms).toBe(since_ms);
    while (!capture.advance(3));
    capture.written(true);
    expect(outbox.since_ms).toBe(since_ms);
  });

  test('keeps its age in another process if only the rest of a record is stored again', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    const since_ms = first.clock.now();
    first.lane.offer(names(6).map((name) => toItem(name)));
    first.save();
    await first.lane.close();
    const { post } = backend();
    let requests = 0;
    const second = openLane(disk, (body, signal) => (++requests > 1 ? silent(body, signal) : post(body)));
    second.clock.advance(1_000);
    await turn();
    second.save();
    expect(second.lane.counts()).toMatchObject({ produced: 6, delivered: 4, pending: 2 });
    expect(second.outbox.since_ms).toBe(since_ms);
    await second.lane.close();
  });

  test('is dropped as the remaining parts if it was divided, and has no age then', () => {
    const { outbox } = openLane(emptyDisk(), silent);
    const whole = toItem('whole', 5);
    const parts = [toItem('p', 2), toItem('q', 3)];
    outbox.add(whole, false);
    outbox.divide(whole, parts);
    outbox.settle(parts[0]!);
    expect(outbox.dropUnstored()).toBe(3);
    expect(outbox.since_ms).toBeUndefined();
  });

  test('is stored as its parts once it was divided', () => {
    const disk = emptyDisk();
    const { outbox, save } = openLane(disk, silent);
    const whole = toItem('whole', 2);
    outbox.add(whole);
    save();
    outbox.divide(whole, [toItem('p'), toItem('q')]);
    save();
    expect([...disk.records.values()].map((value) => read(splitRecord(value).body))).toEqual([['p', 'q']]);
  });

  test.each([
    ['stays whole', false],
    ['is divided in the meantime', true],
  ])('keeps its order if the rest of a record is stored again and %s', (_, is_divided) => {
    const disk = emptyDisk();
    const { outbox, save } = openLane(disk, silent);
    const items = ['a0', 'a1', 'b0', 'b1', 'c'].map((name) => toItem(name, 2));
    const add = (from: number, to: number): void => {
      for (const item of items.slice(from, to)) outbox.add(item);
    };
    add(0, 2);
    save();
    add(2, 4);
    save();
    add(4, 5);
    // One item of the older record is left; the newer record stays as it is.
    outbox.settle(items[0]!);
    const capture = outbox.capture();
    if (is_divided) outbox.divide(items[1]!, [toItem('a1'), toItem('a2')]);
    while (!capture.advance(3));
    apply(disk, capture.changes);
    capture.written(true);
    const kept = [...disk.records].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(kept.map(([, value]) => read(splitRecord(value).body))).toEqual([
      is_divided ? ['a1', 'a2'] : ['a1'],
      ['b0', 'b1'],
      ['c'],
    ]);
  });

  test.each([
    ['at the first try', [true]],
    ['at the second try', [false, true]],
  ])('keeps its order if the rest of several records is stored again, %s', async (_, tries) => {
    const disk = emptyDisk();
    const { outbox, lane, save } = openLane(disk, silent);
    const items = ['a0', 'a1', 'b0', 'b1', 'c0', 'c1'].map((name) => toItem(name));
    for (const from of [0, 2, 4]) {
      for (const item of items.slice(from, from + 2)) outbox.add(item);
      save();
    }
    for (const item of items.filter(({ payload }) => payload.endsWith('0'))) outbox.settle(item);
    for (const ok of tries) save(ok);
    await lane.close();
    const { taken, post } = backend();
    await openLane(disk, post).lane.idle();
    expect(taken).toEqual(['a1', 'b1', 'c1']);
  });

  test('loses no dead letter and leaves no stale record if a checkpoint could not be written', () => {
    const disk = emptyDisk();
    const { outbox, save } = openLane(disk, silent);
    const item = toItem('a');
    outbox.add(item);
    save();
    outbox.addDeadLetter([item], 'http_400', 'bad', 1);
    outbox.settle(item);
    save(false);
    save();
    expect([...disk.records.keys()].map((key) => key.split('/')[0])).toEqual(['dead']);
  });

  test.each([true, false])(
    'has the dead letter of what is rejected while it is taken (written: %s)',
    (ok) => {
      const disk = emptyDisk();
      const { outbox, flush } = openLane(disk, silent);
      const item = toItem('a');
      outbox.add(item);
      const capture = outbox.capture();
      outbox.addDeadLetter([item], 'http_400', 'bad', 1);
      outbox.settle(item);
      while (!capture.advance(3));
      if (ok) apply(disk, capture.changes);
      capture.written(ok);
      if (!ok) flush();
      expect([...disk.records.keys()].map((key) => key.split('/')[0])).toEqual(['dead']);
      expect(outbox.hasAnswers).toBe(false);
    },
  );

  test('does not include what was answered after a checkpoint, be it in a segment or replayed from the journal', async () => {
    const disk = emptyDisk();
    const { state, taken, post } = backend();
    let budget = 4;
    const first = openLane(disk, async (body, signal) => {
      budget -= read(body).length;
      return budget >= 0 ? post(body) : silent(body, signal);
    });
    // In the same turn, so all of it is pending at the checkpoint.
    first.lane.offer(names(6).map((name) => toItem(name)));
    first.save();
    await Promise.resolve();
    budget = 6;
    first.lane.offer([toItem('new0'), toItem('new1')]);
    await new Promise((resolve) => setImmediate(resolve));
    first.flush();
    const answered_before = new Set(taken);
    expect(answered_before.size).toBeGreaterThan(0);
    await first.lane.close();
    state.is_up = true;
    const again = backend();
    const second = openLane(disk, again.post);
    second.lane.offer([toItem('new0'), toItem('new1')]);
    second.outbox.endRestore();
    await second.lane.idle();
    expect([...taken, ...again.taken].sort()).toEqual([...names(6), 'new0', 'new1'].sort());
    expect(balance(second.lane.counts())).toBe(0);
    expect(second.lane.counts()).toMatchObject({ produced: again.taken.length });
  });

  test('counts in the next process without the part that was answered', async () => {
    const disk = emptyDisk();
    const { post } = backend();
    let requests = 0;
    const first = openLane(disk, (body, signal) => (++requests > 1 ? silent(body, signal) : post(body)));
    first.lane.offer(names(6).map((name) => toItem(name)));
    first.save();
    await turn();
    first.flush();
    await first.lane.close();
    expect(openLane(disk, silent).lane.counts()).toMatchObject({ produced: 2, pending: 2 });
  });

  test('does not include the first two replays of an id that was answered twice', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, backend().post);
    first.lane.offer([toItem('same'), toItem('same')]);
    await first.lane.idle();
    first.flush();
    const { taken, post } = backend();
    const second = openLane(disk, post);
    second.lane.offer([toItem('same'), toItem('same'), toItem('same')]);
    await second.lane.idle();
    expect(taken).toEqual(['same']);
  });

  test('over the memory limit is held only on the disk, and nothing is dropped', async () => {
    const disk = emptyDisk();
    const { state, taken, post } = backend();
    state.is_up = false;
    // Nothing is retried before the backend is up.
    let wake = (): void => undefined;
    const up = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const opened = openLane(disk, post, { limit_bytes: 10_000, sleep: () => up });
    for (let round = 0; round < 50; round++) {
      opened.lane.offer(names(20, `${round}-`).map((name) => toItem(name)));
      if (opened.lane.isPressed) opened.save();
    }
    expect(opened.outbox.hasEvicted).toBe(true);
    expect(opened.lane.counts()).toMatchObject({ produced: 1000, pending: 1000, dropped: {} });
    state.is_up = true;
    wake();
    await opened.lane.idle();
    expect(new Set(taken).size).toBe(1000);
    expect(taken).toHaveLength(1000);
    // New items do not wait for all old ones.
    expect(taken.indexOf('49-19')).toBeLessThan(200);
    expect(opened.lane.counts()).toMatchObject({ delivered: 1000, pending: 0 });
  });

  /** A backend that accepts `requests` requests, and then none until `comeBack`. */
  function breaking(requests: number) {
    let wake = (): void => undefined;
    const up = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const { taken, post } = backend();
    let left = requests;
    return {
      taken,
      post: async (body: Uint8Array) => (left-- > 0 ? post(body) : UNREACHABLE),
      sleep: () => up,
      comeBack(): void {
        left = Infinity;
        wake();
      },
    };
  }

  test.each([
    ['that is partly answered', 1],
    ['that is partly in flight', 0],
  ])('in a record %s is not read back, so that nothing is sent twice', async (_, requests) => {
    const disk = emptyDisk();
    const { taken, post, sleep, comeBack } = breaking(requests);
    const { lane, save } = openLane(disk, post, { limit_bytes: 8_000, sleep });
    for (const prefix of ['a', 'b']) {
      lane.offer(names(20, prefix).map((name) => toItem(name)));
      save();
    }
    await turn();
    // Now memory is short.
    lane.offer(names(40, 'c').map((name) => toItem(name)));
    expect(lane.isPressed).toBe(true);
    lane.relieve();
    save();
    comeBack();
    await lane.idle();
    const all = [...names(20, 'a'), ...names(20, 'b'), ...names(40, 'c')];
    expect(taken.toSorted()).toEqual(all.toSorted());
    expect(lane.counts()).toMatchObject({ delivered: 80, pending: 0 });
  });

  test('that is about to be stored stays in memory until it is', async () => {
    const disk = emptyDisk();
    const { taken, post, sleep, comeBack } = breaking(0);
    const { lane, outbox } = openLane(disk, post, { limit_bytes: 4_000, sleep });
    lane.offer(names(20).map((name) => toItem(name)));
    const capture = outbox.capture();
    while (!capture.advance(3));
    lane.offer(names(20, 'j').map((name) => toItem(name)));
    expect(outbox.hasEvicted).toBe(false);
    capture.written(false);
    comeBack();
    await lane.idle();
    expect(taken.toSorted()).toEqual([...names(20), ...names(20, 'j')].toSorted());
  });

  test('is sent oldest and newest in turn if there is much of it', async () => {
    const { taken, post } = backend();
    const { lane } = openLane(emptyDisk(), post);
    lane.offer(names(40).map((name) => toItem(name)));
    await lane.idle();
    expect(taken.slice(0, 8)).toEqual(['i36', 'i37', 'i38', 'i39', 'i0', 'i1', 'i2', 'i3']);
  });

  test('that is only on the disk can be dropped, and is counted', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    first.lane.offer(names(10).map((name) => toItem(name)));
    first.save();
    await first.lane.close();
    // Restored and not yet read back.
    const second = openLane(disk, silent);
    const before = disk.records.size;
    while (second.lane.dropOldest());
    expect(second.lane.counts().dropped.store_full).toBeGreaterThan(0);
    expect(balance(second.lane.counts())).toBe(0);
    second.flush();
    expect(disk.records.size).toBeLessThan(before);
  });

  test('that is on the disk and in memory can be dropped, except for what is in flight', async () => {
    const disk = emptyDisk();
    const { lane, outbox, save, flush } = openLane(disk, silent);
    for (const name of ['sent', 'old', 'new']) {
      lane.offer([toItem(name)]);
      save();
      await turn();
    }
    lane.offer([toItem('newer')]);
    const before = outbox.bytes;
    expect(lane.dropOldest()).toBe(true);
    expect(outbox.bytes).toBeLessThan(before);
    expect(lane.counts()).toMatchObject({ pending: 3, dropped: { store_full: 1 } });
    expect([lane.dropOldest(), lane.dropOldest()]).toEqual([true, false]);
    flush();
    expect(disk.records.size).toBe(1);
    expect(balance(lane.counts())).toBe(0);
  });

  test.each([
    { before: 25, answers: 2, what: 'both are stored again' },
    { before: 5, answers: 1, what: 'only the older one is stored again' },
  ])('keeps a correction behind what it corrects if $what', async ({ before, answers }) => {
    const disk = emptyDisk();
    let tries = 0;
    const first = openLane(disk, (body, signal) =>
      ++tries <= answers ? backend().post(body) : silent(body, signal),
    );
    first.lane.offer([...names(before), 'ended'].map((name) => toItem(name)));
    first.save();
    first.lane.offer([toItem('corrected', 0), ...names(8, 'new').map((name) => toItem(name))]);
    first.save();
    await turn();
    first.save();
    await first.lane.close();
    const { taken, post } = backend();
    await openLane(disk, post).lane.idle();
    expect(taken.filter((name) => name === 'ended' || name === 'corrected')).toEqual(['ended', 'corrected']);
  });

  test('can be dropped if a preview is queued before it', async () => {
    const { lane, save } = openLane(emptyDisk(), silent);
    lane.offer([toItem('sent')]);
    await turn();
    lane.offer([{ payload: 'copy', bytes: 100, count: 0, id: 'copy' }]);
    lane.offer([toItem('old')]);
    save();
    expect(lane.dropOldest()).toBe(true);
    expect(lane.counts()).toMatchObject({ pending: 1, dropped: { store_full: 1 } });
  });

  test('does not include an invalid record, which is removed', () => {
    const disk = emptyDisk();
    const { outbox } = openLane(disk, silent);
    disk.records.set(`${outbox.prefix}0`, Buffer.from('nonsense'));
    openLane(disk, silent).flush();
    expect(disk.records.size).toBe(0);
  });

  test('in a record that has become unreadable is counted as dropped', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    first.lane.offer(names(3).map((name) => toItem(name)));
    first.save();
    await first.lane.close();
    const [key = ''] = disk.records.keys();
    const second = openLane(disk, backend().post);
    disk.records.delete(key);
    await second.lane.idle();
    expect(second.lane.counts()).toMatchObject({ produced: 3, pending: 0, dropped: { store_damaged: 3 } });
  });

  test('in a partly answered record that has become unreadable is counted as dropped', async () => {
    const disk = emptyDisk();
    const { post } = backend();
    const first = openLane(disk, (body, signal) =>
      read(body).includes('i0') ? post(body) : silent(body, signal, 'json'),
    );
    first.lane.hold(names(5).map((name) => toItem(name)));
    first.save();
    first.lane.release();
    await turn();
    await turn();
    first.flush();
    await first.lane.close();
    expect(first.lane.counts()).toMatchObject({ delivered: 4, pending: 1 });
    const [[key = '', value = Buffer.alloc(0)] = []] = disk.records;
    const { header } = splitRecord(value);
    disk.records.set(key, joinRecord(header as object, [Buffer.from('of another version')]));
    const second = openLane(disk, post);
    await second.lane.idle();
    expect(second.lane.counts()).toMatchObject({ produced: 5, pending: 0, dropped: { store_damaged: 5 } });
    second.flush();
    expect(disk.records.size).toBe(0);
  });

  test('is sent even if an older record has become unreadable', async () => {
    const disk = emptyDisk();
    const first = openLane(disk, silent);
    for (const name of ['a', 'b', 'c']) {
      first.lane.offer([toItem(name)]);
      first.save();
    }
    await first.lane.close();
    const [key = ''] = [...disk.records.keys()].sort();
    const { taken, post } = backend();
    const second = openLane(disk, post);
    disk.records.delete(key);
    await second.lane.idle();
    expect(taken).toEqual(['b', 'c']);
    expect(second.lane.counts()).toMatchObject({ delivered: 2, pending: 0, dropped: { store_damaged: 1 } });
  });
});

test('a divided item takes up the memory of those of its parts that are not settled yet', () => {
  const backlog = new Backlog<string>({ limit_bytes: 400, max_items: 1, in_order: true });
  const whole = toItem('whole', 2);
  const parts = [toItem('p'), toItem('q')];
  backlog.push(whole);
  expect(backlog.take(1).items).toEqual([whole]);
  expect(backlog.isMuchTaken).toBe(false);
  backlog.replace(whole, parts);
  expect(backlog.isMuchTaken).toBe(true);
  backlog.settle(parts[0]!);
  expect(backlog.isMuchTaken).toBe(false);
});

describe('dead letters', () => {
  test('hold what was permanently rejected, and the reason, without secrets', async () => {
    const disk = emptyDisk();
    const { lane, flush } = openLane(disk, async () => answered(400, 'bad secret'));
    lane.offer([toItem('a'), toItem('b')]);
    await lane.idle();
    flush();
    const [[key, value]] = [...disk.records] as [[string, Uint8Array]];
    const { header, body } = splitRecord(value);
    expect(key).toMatch(/^dead\//);
    expect(header).toMatchObject({
      destination: 'a/b',
      signal: 'traces',
      reason: 'http_400',
      message: 'HTTP 400: bad …',
      rejected: 2,
      counts: [1, 1],
    });
    expect(read(body)).toEqual(['a', 'b']);
  });

  test('hold no more than was sent, and no previews, whatever number a backend reports as rejected', async () => {
    const disk = emptyDisk();
    const partial = answered(200, { partialSuccess: { rejectedSpans: 1.5e9 } });
    const { lane, flush } = openLane(disk, async () => partial);
    lane.offer([{ ...toItem('open', 0), id: 's' }]);
    await lane.idle();
    flush();
    expect(disk.records.size).toBe(0);
    lane.offer([toItem('a'), toItem('b')]);
    await lane.idle();
    flush();
    const [value] = [...disk.records.values()] as [Uint8Array];
    expect(splitRecord(value).header).toMatchObject({ rejected: 2, counts: [1, 1] });
  });

  test('are all stored, however many there are at the same time', () => {
    const { outbox } = openLane(emptyDisk(), async () => OK);
    for (let number = 0; number < 30_000; number++) outbox.addDeadLetter([toItem('a')], 'http_400', 'bad', 1);
    const keys = outbox.takeAnswers().changes.map(({ key }) => key);
    expect(new Set(keys).size).toBe(30_000);
  });
});

/** What happens to a lane and its disk. A crash keeps the disk as it is, and loses the rest. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('offer' as const), count: fc.integer({ min: 1, max: 30 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('save' as const), ok: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const), is_up: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
);

property.prop([fc.array(step, { maxLength: 60 }), fc.integer({ min: 500, max: 5_000 })], { numRuns: 200 })(
  'whatever happens, everything arrives, and nothing arrives again once its answer is on the disk',
  async (steps, limit_bytes) => {
    const { state, taken, post } = backend();
    let disk = emptyDisk();
    let open = openLane(disk, post, { limit_bytes: limit_bytes * 100 });
    /** Offered since the last checkpoint: what a journal would replay. */
    let journal: string[] = [];
    const offered: string[] = [];
    /** How often each item had arrived when its answer reached the disk. */
    const settled = new Map<string, number>();
    let process_start = 0;
    const settle = (): void => {
      for (const name of taken.slice(process_start))
        settled.set(name, taken.filter((other) => other === name).length);
    };
    let number = 0;
    const offer = (payloads: string[]): void => open.lane.offer(payloads.map((payload) => toItem(payload)));
    const restart = async (): Promise<void> => {
      const left = copyOf(disk);
      await open.lane.close();
      disk = left;
      open = openLane(disk, post, { limit_bytes: limit_bytes * 100 });
      offer(journal);
      open.outbox.endRestore();
      process_start = taken.length;
    };
    for (const each of steps) {
      // Everything that has arrived is answered by the next turn.
      if (each.kind === 'save' || each.kind === 'flush') await turn();
      if (each.kind === 'offer') {
        const payloads = Array.from({ length: each.count }, () => `n${number++}`);
        offered.push(...payloads);
        journal.push(...payloads);
        offer(payloads);
      } else if (each.kind === 'save') {
        open.save(each.ok);
        if (!each.ok) continue;
        journal = [];
        settle();
      } else if (each.kind === 'flush') {
        open.flush();
        settle();
      } else if (each.kind === 'turn') {
        state.is_up = each.is_up;
        await turn();
      } else await restart();
      expect(balance(open.lane.counts())).toBe(0);
    }
    await restart();
    state.is_up = true;
    await open.lane.idle();
    expect(balance(open.lane.counts())).toBe(0);
    expect(new Set(taken)).toEqual(new Set(offered));
    for (const [name, times] of settled) expect(taken.filter((other) => other === name)).toHaveLength(times);
  },
);
