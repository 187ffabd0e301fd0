/**
 * Goes into every measured process, before its own code: tells what it has used when it is asked to. It keeps the process alive
 * no longer than that lives by itself.
 */
import { serveCalls } from './calls.js';

export interface Usage {
  /** User and system time of all threads since the start. */
  cpu_us: number;
  /** The most memory that was resident at any moment. */
  peak_bytes: number;
}

export type ProbeCalls = {
  usage(): Usage;
  /** What lives on the heap when everything dead has been thrown away; needs `--expose-gc`. */
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
