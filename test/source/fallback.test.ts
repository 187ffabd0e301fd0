/** A source and its fallback: which of the two is read, and that it is never both. */
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type LineBatch, type Source, SourceError } from '../../src/model/source.js';
import { withFallback } from '../../src/source/fallback.js';
import { createRendezvous } from '../../src/source/rendezvous.js';
import { type Item, turns } from './helpers.js';

/** A source whose items are supplied by the test. */
function createScripted(name: string, opening: Promise<void> = Promise.resolve()) {
  const rendezvous = createRendezvous<Item>();
  let end = (): void => undefined;
  void rendezvous.endAfter(
    new Promise((resolve) => {
      end = resolve;
    }),
  );
  let opened = 0;
  let is_open = false;
  const source: Source = {
    name,
    async open() {
      await opening;
      opened += 1;
      is_open = true;
      return rendezvous.items;
    },
    async close() {
      is_open = false;
      rendezvous.release();
      end();
    },
  };
  const line = (text: string, is_last: boolean): LineBatch => ({
    kind: 'lines',
    stream: name,
    end: is_last,
    lines: [{ number: 1, bytes: Buffer.from(text) }],
    arrival_ms: 0,
  });
  return {
    source,
    opened: () => opened,
    isOpen: () => is_open,
    tell: (text: string) => rendezvous.push(line(text, false)),
    tellLast: (text: string) => rendezvous.push(line(text, true)),
    status: (state: 'up' | 'down') => rendezvous.push({ kind: 'status', state, message: `${name} ${state}` }),
  };
}

function describeItem(item: Item): string {
  if (item.kind === 'status') return item.message;
  if (item.end) return `end of ${item.stream}`;
  return item.lines.map((line) => ('bytes' in line ? String(line.bytes) : '')).join(' ');
}

/** Opens a gateway with a fallback; both are closed after the test. */
async function start(
  fallback: Source,
  open_streams: string[] = [],
  isThere: () => boolean | Promise<boolean> = () => true,
) {
  const gateway = createScripted('gateway');
  const source = withFallback({
    preferred: gateway.source,
    createFallback: async () => ((await isThere()) ? fallback : undefined),
    open_streams,
    messages: { begins: 'begins', ends: 'ends' },
  });
  onTestFinished(() => source.close());
  const items = (await source.open())[Symbol.asyncIterator]();

  /** Reads until the item with this description; returns the descriptions of all items. */
  async function readUntil(wanted: string): Promise<string[]> {
    const told: string[] = [];
    while (told.at(-1) !== wanted) {
      const next = await items.next();
      if (next.done) throw new Error(`ended before "${wanted}": ${told.join(', ')}`);
      told.push(describeItem(next.value));
    }
    return told;
  }

  return { gateway, source, items, readUntil };
}

test('the fallback is not opened once the preferred source has been followed', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source);
  void gateway.status('up');
  void gateway.tell('a');
  expect(await readUntil('a')).toEqual(['gateway up', 'a']);
  void gateway.status('down');
  void gateway.tell('b');
  expect(await readUntil('b')).toEqual(['gateway down', 'b']);
  expect(transcripts.opened()).toBe(0);
});

test('the fallback is read until the preferred source can be followed, and no longer', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source);
  void gateway.status('down');
  void transcripts.tell('a');
  expect(await readUntil('a')).toEqual(['gateway down', 'begins', 'a']);
  void gateway.status('up');
  expect(await readUntil('gateway up')).toEqual(['ends', 'end of transcripts', 'gateway up']);
  expect(transcripts.isOpen()).toBe(false);
  void transcripts.tell('twice');
  void transcripts.tellLast('twice');
  void gateway.status('down');
  void gateway.tell('b');
  expect(await readUntil('b')).toEqual(['gateway down', 'b']);
});

test('streams of the fallback that an earlier process left open end when the preferred source can be followed', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source, ['left']);
  void gateway.status('up');
  expect(await readUntil('gateway up')).toEqual(['end of left', 'gateway up']);
  expect(transcripts.opened()).toBe(0);
});

test('a fallback that opens only after the preferred source can be followed is closed unread', async () => {
  let openNow = (): void => undefined;
  const opening = new Promise<void>((resolve) => {
    openNow = resolve;
  });
  const transcripts = createScripted('transcripts', opening);
  const { gateway, readUntil } = await start(transcripts.source);
  void gateway.status('down');
  await readUntil('gateway down');
  void gateway.status('up');
  expect(await readUntil('gateway up')).toEqual(['gateway up']);
  openNow();
  void gateway.tell('a');
  void gateway.tell('b');
  expect(await readUntil('b')).toEqual(['a', 'b']);
  expect(transcripts.opened()).toBe(1);
  expect(transcripts.isOpen()).toBe(false);
});

test('closing both sources ends no stream', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, source, items, readUntil } = await start(transcripts.source, ['left']);
  void gateway.status('down');
  void transcripts.tell('a');
  expect(await readUntil('a')).toEqual(['gateway down', 'begins', 'a']);
  await source.close();
  expect(await items.next()).toEqual({ done: true, value: undefined });
  expect(gateway.isOpen()).toBe(false);
  expect(transcripts.isOpen()).toBe(false);
});

test('a fallback that can not be opened is reported, and the preferred source is still waited for', async () => {
  const broken: Source = {
    name: 'transcripts',
    open: () => Promise.reject(new SourceError("can't read transcripts")),
    close: async () => undefined,
  };
  const { gateway, readUntil } = await start(broken);
  void gateway.status('down');
  expect(await readUntil("can't read transcripts")).toEqual(['gateway down', "can't read transcripts"]);
  void gateway.status('up');
  void gateway.tell('a');
  expect((await readUntil('a')).slice(-2)).toEqual(['gateway up', 'a']);
});

test('a fallback that does not exist yet, or can not be opened yet, is read as soon as it can be', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const transcripts = createScripted('transcripts');
  let looks = 0;
  const lateSource: Source = {
    ...transcripts.source,
    open: () =>
      looks < 4 ? Promise.reject(new SourceError("can't read transcripts")) : transcripts.source.open(),
  };
  const { gateway, readUntil } = await start(lateSource, [], () => ++looks > 1);
  void gateway.status('down');
  void transcripts.tell('a');
  const told = readUntil('a');
  while (transcripts.opened() === 0) await vi.advanceTimersByTimeAsync(1_000);
  expect(await told).toEqual(['gateway down', "can't read transcripts", 'begins', 'a']);
  expect(looks).toBe(4);
});

test('the fallback is no longer looked for once the preferred source can be followed', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let looks = 0;
  const { gateway, readUntil } = await start(createScripted('transcripts').source, [], () => {
    looks += 1;
    return false;
  });
  void gateway.status('down');
  await readUntil('gateway down');
  void gateway.status('up');
  await readUntil('gateway up');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(looks).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('a stream of the fallback that has ended does not end again', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source, ['transcripts']);
  void gateway.status('down');
  void transcripts.tellLast('a');
  expect(await readUntil('end of transcripts')).toEqual(['gateway down', 'begins', 'end of transcripts']);
  void gateway.status('up');
  expect(await readUntil('gateway up')).toEqual(['ends', 'gateway up']);
});

test('the fallback ends once, however often the preferred source is lost and followed again', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source);
  void gateway.status('down');
  void gateway.status('down');
  void transcripts.tell('a');
  expect((await readUntil('a')).sort()).toEqual(['a', 'begins', 'gateway down', 'gateway down']);
  expect(transcripts.opened()).toBe(1);
  void gateway.status('up');
  await readUntil('gateway up');
  void gateway.status('up');
  expect(await readUntil('gateway up')).toEqual(['gateway up']);
});

test('of the fallback nothing more is emitted once the preferred source is followed, but what waits already', async () => {
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source);
  void gateway.status('down');
  await readUntil('begins');
  void transcripts.tell('a');
  await turns(10);
  void gateway.status('up');
  await turns(10);
  void transcripts.tell('twice');
  expect(await readUntil('gateway up')).toEqual(['a', 'ends', 'end of transcripts', 'gateway up']);
});

test('a fallback that is found only after the preferred source can be followed is not opened', async () => {
  let find = (_: boolean): void => undefined;
  const finding = new Promise<boolean>((resolve) => {
    find = resolve;
  });
  const transcripts = createScripted('transcripts');
  const { gateway, readUntil } = await start(transcripts.source, [], () => finding);
  void gateway.status('down');
  await readUntil('gateway down');
  void gateway.status('up');
  await readUntil('gateway up');
  find(true);
  void gateway.tell('a');
  await readUntil('a');
  expect(transcripts.opened()).toBe(0);
});

describe('looking for a fallback', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** Starts without anything to fall back on, and with a preferred source that is lost twice. */
  async function look() {
    let looks = 0;
    const started = await start(createScripted('transcripts').source, [], () => {
      looks += 1;
      return false;
    });
    for (let lost = 0; lost < 2; lost++) {
      void started.gateway.status('down');
      await started.readUntil('gateway down');
    }
    return { ...started, looks: () => looks };
  }

  test('is repeated every ten seconds', async () => {
    const { looks } = await look();
    await vi.advanceTimersByTimeAsync(9_999);
    expect(looks()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(looks()).toBe(2);
  });

  test.each([
    ['the preferred source is followed', 'up'],
    ['the source is closed', 'close'],
  ])('ends at once when %s', async (_, how) => {
    const { gateway, source, items, readUntil, looks } = await look();
    if (how === 'up') {
      void gateway.status('up');
      await readUntil('gateway up');
    } else {
      await source.close();
      expect(await items.next()).toMatchObject({ done: true });
    }
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(looks()).toBe(1);
  });
});

test('closing waits until the fallback has ended', async () => {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const transcripts = createScripted('transcripts');
  const slow: Source = {
    ...transcripts.source,
    async open() {
      const items = await transcripts.source.open();
      return (async function* () {
        yield* items;
        await ended;
      })();
    },
  };
  const { gateway, source, readUntil } = await start(slow);
  void gateway.status('down');
  await readUntil('begins');
  let is_closed = false;
  const closing = source.close().then(() => {
    is_closed = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(is_closed).toBe(false);
  end();
  await closing;
});
