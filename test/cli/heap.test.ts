/** What the program tells V8: in a process of its own, since it holds for all of one. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** Megabytes that objects which live long took at most, beside some that do and many that hardly do. */
function peakMegabytes(prelude: string): number {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    ${prelude}
    globalThis.living = Array.from({ length: 100_000 }, (_, n) => ({ n, text: n + ' and more', of: [n] }));
    let waiting = [];
    let peak = 0;
    for (let n = 0; n < 4_000_000; n++) {
      waiting.push({ n, of: [n] });
      if (waiting.length > 200_000) waiting = waiting.slice(100_000);
      if (n % 50_000 > 0) continue;
      const old = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space');
      peak = Math.max(peak, old.physical_space_size);
    }
    console.log(peak / 1_048_576);`;
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }));
}

test('the heap grows by less beside what lives in it', () => {
  const heap = new URL('../../dist/commands/heap.js', import.meta.url).href;
  const small = peakMegabytes(`(await import(${JSON.stringify(heap)})).keepHeapSmall();`);
  expect(small).toBeLessThan(0.8 * peakMegabytes(''));
}, 30_000);
