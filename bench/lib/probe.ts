/**
 * Loaded into every measured process before its own code: reports the process's usage on request. It does not keep the
 * process alive.
 */
import { serveCalls } from './calls.js';

export interface Usage {
  /** User and system time of all threads since the start. */
  cpu_us: number;
  /** The peak of resident memory. */
  peak_bytes: number;
}

export type ProbeCalls = {
  usage(): Usage;
  /** The live heap after garbage collection; needs `--expose-gc`. */
  heapBytes(): Promise<number>;
};

const { gc } = globalThis as { gc?: () => void };
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

serveCalls<ProbeCalls>(
  {
    usage() {
      const { user, system } = process.cpuUsage();
      return { cpu_us: user + system, peak_bytes: process.resourceUsage().maxRSS * 1024 };
    },
    async heapBytes() {
      for (let turn = 0; turn < 3; turn++) {
        await nextTurn();
        gc?.();
      }
      return process.memoryUsage().heapUsed;
    },
  },
  'probe',
);
process.channel?.unref();
