/** The disk's own latency for small durable writes, without which no durable figure can be interpreted. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { quantile } from './statistics.js';
import { temporaryDirectory } from './subject.js';

const WRITES = 300;
const BYTES = 4_096;

/** `0.32 / 3.2 ms`: the median and the 99th percentile of an append of 4 KB with fdatasync. */
export function measureDisk(): string {
  const directory = temporaryDirectory();
  const file = openSync(join(directory, 'probe'), 'a');
  const block = Buffer.alloc(BYTES, 1);
  const times_ms: number[] = [];
  for (let write = 0; write < WRITES; write++) {
    const began_ms = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    times_ms.push(performance.now() - began_ms);
  }
  closeSync(file);
  rmSync(directory, { recursive: true });
  return `${quantile(times_ms, 0.5).toFixed(2)} / ${quantile(times_ms, 0.99).toFixed(1)} ms`;
}
