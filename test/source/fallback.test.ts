/** A source and its fallback: which of the two is listened to, and that it is never both. */
import { expect, test } from 'vitest';
import { type LineBatch, type Source, SourceError, type SourceStatus } from '../../src/model/source.js';
import { withFallback } from '../../src/source/fallback.js';
import { createQueue } from '../../src/source/queue.js';

type Item = LineBatch | SourceStatus;

/** A source that tells what a test says. */
function createScripted(name: string) {
  const queue = createQueue<Item>();
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  void queue.endAfter(ended);
  let opened = 0;
  const source: Source = {
    name,
    async open() {
      opened += 1;
      return queue.items;
    },
    async close() {
      queue.release();
      end();
    },
  };
  const line = (text: string, is_last = false): LineBatch => ({
    kind: 'lines',
    stream: name,
    end: is_last,
    lines: [{ number: 1, bytes: Buffer.from(text) }],
    arrival_ms: 0,
  });
  return {
    source,
    opened: () => opened,
    tell: (text: string) => queue.push(line(text)),
    tellLast: (text: string) => queue.push(line(text, true)),
    status: (state: 'up' | 'down') => queue.push({ kind: 'status', state, message: `${name} ${state}` }),
  };
}

function start(open_streams: string[] = []) {
  const gateway = createScripted('gateway');
  const transcripts = createScripted('transcripts');
  const source = withFallback({
    preferred: gateway.source,
    createFallback: async () => transcripts.source,
    open_streams,
    messages: { begins: 'begins', ends: 'ends' },
  });
  return { gateway, transcripts, source };
}

function describeItem(item: Item): string {
  if (item.kind === 'status') return item.message;
  if (item.end) return `end of ${item.stream}`;
  return item.lines.map((line) => ('bytes' in line ? String(line.bytes) : '')).join(' ');
}

/** Reads until something is told. */
async function readUntil(items: AsyncIterator<Item>, wanted: string): Promise<string[]> {
  const told: string[] = [];
  while (told.at(-1) !== wanted) {
    const next = await items.next();
    if (next.done) throw new Error(`ended before "${wanted}": ${told.join(', ')}`);
    told.push(describeItem(next.value));
  }
  return told;
}

test('is not opened where the preferred one can be followed', async () => {
  const { gateway, transcripts, source } = start();
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('up');
  void gateway.tell('a');
  expect(await readUntil(items, 'a')).toEqual(['gateway up', 'a']);
  void gateway.status('down');
  void gateway.tell('b');
  expect(await readUntil(items, 'b')).toEqual(['gateway down', 'b']);
  expect(transcripts.opened()).toBe(0);
  await source.close();
});

test('is listened to until the preferred one can be followed, and then no more', async () => {
  const { gateway, transcripts, source } = start();
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('down');
  void transcripts.tell('a');
  expect(await readUntil(items, 'a')).toEqual(['gateway down', 'begins', 'a']);
  void gateway.status('up');
  expect(await readUntil(items, 'gateway up')).toEqual(['ends', 'end of transcripts', 'gateway up']);
  void transcripts.tell('twice');
  void transcripts.tellLast('twice');
  void gateway.status('down');
  void gateway.tell('b');
  const told = await readUntil(items, 'b');
  expect(told).toEqual(['gateway down', 'b']);
  await source.close();
});

test('what an earlier process listened to of it ends when the preferred one can be followed', async () => {
  const { gateway, transcripts, source } = start(['left']);
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('up');
  expect(await readUntil(items, 'gateway up')).toEqual(['end of left', 'gateway up']);
  expect(transcripts.opened()).toBe(0);
  await source.close();
});

test('is not said to begin where it is open only when the preferred one can be followed', async () => {
  const { gateway, transcripts } = start();
  let openNow = (): void => undefined;
  const opening = new Promise<void>((resolve) => {
    openNow = resolve;
  });
  const slow: Source = {
    ...transcripts.source,
    async open() {
      await opening;
      return transcripts.source.open();
    },
  };
  const source = withFallback({
    preferred: gateway.source,
    createFallback: async () => slow,
    open_streams: [],
    messages: { begins: 'begins', ends: 'ends' },
  });
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('down');
  await readUntil(items, 'gateway down');
  void gateway.status('up');
  await readUntil(items, 'gateway up');
  openNow();
  void gateway.tell('a');
  void gateway.tell('b');
  expect(await readUntil(items, 'b')).toEqual(['a', 'b']);
  await source.close();
});

test('ends no stream where both are closed', async () => {
  const { gateway, transcripts, source } = start(['left']);
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('down');
  void transcripts.tell('a');
  expect(await readUntil(items, 'a')).toEqual(['gateway down', 'begins', 'a']);
  await source.close();
  expect(await items.next()).toEqual({ done: true, value: undefined });
});

test('both are closed with it', async () => {
  const { gateway, transcripts, source } = start();
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('down');
  void transcripts.tell('a');
  await readUntil(items, 'a');
  await source.close();
  expect(await items.next()).toEqual({ done: true, value: undefined });
});

test('that can not be opened is told, and the preferred one is waited for all the same', async () => {
  const gateway = createScripted('gateway');
  const broken: Source = {
    name: 'transcripts',
    open: () => Promise.reject(new SourceError("can't read transcripts")),
    close: async () => undefined,
  };
  const source = withFallback({
    preferred: gateway.source,
    createFallback: async () => broken,
    open_streams: [],
    messages: { begins: 'begins', ends: 'ends' },
  });
  const items = (await source.open())[Symbol.asyncIterator]();
  void gateway.status('down');
  expect(await readUntil(items, "can't read transcripts")).toEqual([
    'gateway down',
    "can't read transcripts",
  ]);
  void gateway.status('up');
  void gateway.tell('a');
  expect((await readUntil(items, 'a')).slice(-2)).toEqual(['gateway up', 'a']);
  await source.close();
});
