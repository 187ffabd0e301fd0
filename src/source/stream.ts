/**
 * Reads lines from a Node stream (stdin, a socket) at the consumer's pace. It reads from the stream only when the last batch
 * has been pulled; meanwhile the stream's own small buffer fills, then the kernel's, then the writer has to wait.
 */
import type { Readable } from 'node:stream';
import { createLineSplitter } from './lines.js';
import { createNotifier } from './notifier.js';
import { lineBatch, type Push } from './reader.js';

/** How reading ended: the other side ended the stream, this side stopped, or it failed. */
export type StreamEnd = { kind: 'ended' } | { kind: 'stopped' } | { kind: 'failed'; error: Error };

export interface StreamOptions {
  stream: string;
  max_line_bytes: number;
  /** Whether a last line without a line end counts if the other side ended the stream. */
  keep_unended_line: boolean;
}

/** Reads the stream to its end and closes it. Its last batch has `end: true`, even if nothing came. */
export async function readLines(
  input: Readable,
  { stream, max_line_bytes, keep_unended_line }: StreamOptions,
  push: Push,
  stop: AbortSignal,
): Promise<StreamEnd> {
  const splitter = createLineSplitter({ max_line_bytes });
  const end = await readChunks(input, stop, async (chunk) => {
    const lines = splitter.push(chunk);
    if (lines.length > 0) await push(lineBatch(stream, lines, false));
  });
  const keep = keep_unended_line && end.kind === 'ended';
  await push(lineBatch(stream, keep ? splitter.end() : splitter.abort(), true));
  return end;
}

/**
 * Passes each chunk to `take` and closes the stream. Not `for await`, which discards what the stream has buffered when the
 * connection breaks or reading is stopped, although those bytes have been received.
 */
async function readChunks(
  input: Readable,
  stop: AbortSignal,
  take: (chunk: Buffer) => Promise<void>,
): Promise<StreamEnd> {
  const changed = createNotifier();
  for (const event of ['readable', 'end', 'error', 'close']) input.on(event, changed.notify);
  stop.addEventListener('abort', changed.notify);
  try {
    for (;;) {
      const chunk: Buffer | null = input.read();
      const end = chunk === null ? streamEnd(input, stop) : undefined;
      if (chunk !== null) await take(chunk);
      else if (end !== undefined) return end;
      else await changed.wait();
    }
  } finally {
    stop.removeEventListener('abort', changed.notify);
    await closeStream(input);
  }
}

function streamEnd(input: Readable, stop: AbortSignal): StreamEnd | undefined {
  if (input.readableEnded) return { kind: 'ended' };
  if (stop.aborted) return { kind: 'stopped' };
  if (input.destroyed) return { kind: 'failed', error: input.errored ?? new Error('the stream was closed') };
  return undefined;
}

function closeStream(input: Readable): Promise<void> {
  return new Promise((resolve) => {
    if (input.closed) resolve();
    else input.once('close', () => resolve());
    input.destroy();
  });
}
