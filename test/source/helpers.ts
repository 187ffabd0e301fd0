/**
 * Shared by the tests of sources: pulling from a source item by item, and places for its files and sockets. Every wait is
 * for an item or an event; a test that never gets it fails by its timeout.
 */
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { LineBatch, Source, SourceStatus } from '../../src/model/source.js';
import type { Line } from '../../src/source/lines.js';

export type Item = LineBatch | SourceStatus;

/** A directory that is removed after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'source-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const OPEN_FILES = '/proc/self/fd';

/** Whether the system tells which files this process holds open. */
export const tellsOpenFiles = existsSync(OPEN_FILES);

/** The number of files below a directory that this process holds open. */
export function openFiles(directory: string): number {
  const targets = readdirSync(OPEN_FILES).map((fd) => {
    try {
      return readlinkSync(join(OPEN_FILES, fd));
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(directory)).length;
}

/** Lets the event loop turn; in each turn whatever can be read is read. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

/** A line as text, a skipped one as its reason. */
export function lineText(line: Line): string {
  return 'bytes' in line ? line.bytes.toString() : line.skipped;
}

export interface Puller {
  next(): Promise<Item>;
  /** The next item, which must be a batch. */
  batch(): Promise<LineBatch>;
  /** The message of the next item, which must be a status of this state. */
  status(state: 'up' | 'down'): Promise<string>;
  /** Pulls until this many lines have come, skipping statuses; returns their texts. */
  lines(count: number): Promise<string[]>;
  /** Everything that still comes until the iteration ends. */
  rest(): Promise<Item[]>;
}

function pullFrom(items: AsyncIterable<Item>): Puller {
  const iterator = items[Symbol.asyncIterator]();

  async function next(): Promise<Item> {
    const result = await iterator.next();
    if (result.done) throw new Error('the iteration has ended');
    return result.value;
  }

  return {
    next,
    async batch() {
      const item = await next();
      if (item.kind !== 'lines') throw new Error(`expected lines, got ${item.state}: ${item.message}`);
      return item;
    },
    async status(state) {
      const item = await next();
      if (item.kind !== 'status' || item.state !== state)
        throw new Error(`expected ${state}, got ${item.kind}`);
      return item.message;
    },
    async lines(count) {
      const texts: string[] = [];
      while (texts.length < count) {
        const item = await next();
        if (item.kind === 'lines') texts.push(...item.lines.map(lineText));
      }
      return texts;
    },
    async rest() {
      const rest: Item[] = [];
      for (let result = await iterator.next(); !result.done; result = await iterator.next()) {
        rest.push(result.value);
      }
      return rest;
    },
  };
}

/** Opens a source; it is closed after the test. */
export async function opened(source: Source): Promise<Puller> {
  onTestFinished(() => source.close());
  return pullFrom(await source.open());
}

/** The texts of all lines of some items. */
export function texts(items: Item[]): string[] {
  return items.flatMap((item) => (item.kind === 'lines' ? item.lines.map(lineText) : []));
}

/** The texts of all lines by stream, in the order in which the streams came. */
export function textsByStream(items: Item[]): Record<string, string[]> {
  const streams: Record<string, string[]> = {};
  for (const item of items) {
    if (item.kind !== 'lines') continue;
    const lines = streams[item.stream] ?? [];
    lines.push(...item.lines.map(lineText));
    streams[item.stream] = lines;
  }
  return streams;
}

/** How far a source may run ahead of its consumer, including the system's buffers of a local connection. */
const AHEAD_BYTES_MAX = 8_000_000;
const FLOOD_LINE = `${'x'.repeat(1023)}\n`;
const FLOOD_LINES = 50_000;

/**
 * Writes 50 MB into a connection while the consumer pulls nothing, and then slowly; fails if more than AHEAD_BYTES_MAX
 * have left the writer before they were pulled, or if a line is missing.
 */
export async function flood(writer: Socket, puller: Puller): Promise<void> {
  let sent_bytes = 0;
  const chunk = Buffer.from(FLOOD_LINE.repeat(50));
  const send = (left: number): void => {
    if (left === 0) return;
    writer.write(chunk, () => {
      sent_bytes += chunk.length;
      send(left - 50);
    });
  };
  send(FLOOD_LINES);
  // Each turn of the event loop is one in which a source without back-pressure would read another chunk.
  await turns(2000);
  expect(sent_bytes).toBeLessThan(AHEAD_BYTES_MAX);
  let pulled_lines = 0;
  while (pulled_lines < FLOOD_LINES) {
    const { lines } = await puller.batch();
    pulled_lines += lines.length;
    expect(sent_bytes - pulled_lines * FLOOD_LINE.length).toBeLessThan(AHEAD_BYTES_MAX);
    await new Promise(setImmediate);
  }
  expect(pulled_lines).toBe(FLOOD_LINES);
}
