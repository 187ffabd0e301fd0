/**
 * A consumer that can be restarted: it stores the positions of the batches that it has taken, as the bridge does, and passes
 * them to each new source as a store would return them.
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
  /** Starts or restarts; items that were not taken before are lost with their source. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Takes the items that are available, at most this many. */
  take(count: number): Promise<void>;
  /** Takes items until the condition holds. */
  takeUntil(has_come: () => boolean): Promise<void>;
  /** Takes items until the iteration ends. */
  takeAll(): Promise<void>;
  texts(): string[];
}

/** Without an item in this many turns of the event loop, none is available. */
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
