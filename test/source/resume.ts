/**
 * A consumer that is stopped and started again: it keeps the positions of the batches that it has taken, as the bridge does,
 * and each new source gets them as they come back from a store.
 */
import { onTestFinished } from 'vitest';
import type { LineBatch, Positions, Source } from '../../src/model/source.js';
import { type Item, lineText, turns } from './helpers.js';

export interface Consumer {
  /** Every line that was taken: its stream, number and text. */
  lines: { stream: string; number: number; text: string }[];
  /** Every batch that was taken. */
  batches: LineBatch[];
  messages: string[];
  positions(): Positions;
  /** Starts, or starts anew; what was not taken before is lost with its source. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Takes what there is, this many items at most. */
  take(count: number): Promise<void>;
  /** Takes until something has come. */
  takeUntil(has_come: () => boolean): Promise<void>;
  /** Takes until the iteration ends. */
  takeAll(): Promise<void>;
  texts(): string[];
}

/** How many turns of the event loop are nothing to take. */
const QUIET_TURNS = 30;

export function createConsumer(createSource: (resume: Positions) => Source): Consumer {
  const positions: Record<string, unknown> = {};
  const lines: Consumer['lines'] = [];
  const batches: LineBatch[] = [];
  const messages: string[] = [];
  let source: Source | undefined;
  let items: AsyncIterator<Item> | undefined;
  let next: Promise<IteratorResult<Item>> | undefined;
  onTestFinished(async () => source?.close());

  function apply(item: Item): void {
    if (item.kind === 'status') {
      messages.push(item.message);
      return;
    }
    const { stream, end, position } = item;
    batches.push(item);
    lines.push(...item.lines.map((line) => ({ stream, number: line.number, text: lineText(line) })));
    if (end) delete positions[stream];
    else if (position !== undefined) positions[stream] = position;
  }

  async function takeNext(...patience: Promise<void>[]): Promise<boolean> {
    next ??= items?.next();
    const result = await Promise.race([next, ...patience]);
    if (result === undefined || result.done) return false;
    next = undefined;
    apply(result.value);
    return true;
  }

  return {
    lines,
    batches,
    messages,
    positions: () => JSON.parse(JSON.stringify(positions)),
    async start() {
      await source?.close();
      source = createSource(this.positions());
      items = (await source.open())[Symbol.asyncIterator]();
      next = undefined;
    },
    async stop() {
      await source?.close();
    },
    async take(count) {
      for (let taken = 0; taken < count; taken += 1) {
        if (!(await takeNext(turns(QUIET_TURNS)))) return;
      }
    },
    async takeUntil(has_come) {
      while (!has_come()) if (!(await takeNext())) throw new Error('the iteration has ended');
    },
    async takeAll() {
      while (await takeNext());
    },
    texts: () => lines.map(({ text }) => text),
  };
}
