/** The live heap of this process; needs `--expose-gc`. */
import { setImmediate as nextTurn } from 'node:timers/promises';

const { gc } = globalThis as { gc?: () => void };

/** The heap after several garbage collections in separate turns, since some objects die only in a later turn. */
export async function liveBytes(): Promise<number> {
  if (gc === undefined) throw new Error('start it with --expose-gc');
  for (let turn = 0; turn < 3; turn++) {
    await nextTurn();
    gc();
  }
  return process.memoryUsage().heapUsed;
}
