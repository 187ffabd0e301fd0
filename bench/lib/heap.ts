/** What lives on this process's own heap; needs `--expose-gc`. */
import { setImmediate as nextTurn } from 'node:timers/promises';

const { gc } = globalThis as { gc?: () => void };

/** What is left when everything dead has been thrown away, also what dies only in a turn of its own. */
export async function liveBytes(): Promise<number> {
  if (gc === undefined) throw new Error('start it with --expose-gc');
  for (let turn = 0; turn < 3; turn++) {
    await nextTurn();
    gc();
  }
  return process.memoryUsage().heapUsed;
}
