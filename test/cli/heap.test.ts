/** The V8 settings of the program, in child processes since they apply to a whole process. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

/**
 * The peak size, in megabytes, of V8's old space with some long-lived objects, some shorter-lived and many short-lived
 * ones.
 */
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

test('the heap grows less around its live objects', () => {
  const heap = new URL('../../dist/commands/heap.js', import.meta.url).href;
  const small = peakMegabytes(`(await import(${JSON.stringify(heap)})).keepHeapSmall();`);
  expect(small).toBeLessThan(0.8 * peakMegabytes(''));
}, 30_000);
