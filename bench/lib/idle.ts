/** The cost of a process while nothing happens. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Remote } from './calls.js';
import type { ProbeCalls } from './probe.js';
import { atMost } from './target.js';

/** Time for follow-up work and garbage collection; what continues after it is part of being idle. */
export const SETTLE_MS = 30_000;
export const IDLE_MS = 60_000;
const MAX_IDLE_PERCENT = 0.5;

/** The processor time of each process while nothing happens, in percent of one core. */
export async function idleShares(processes: Pick<Remote<ProbeCalls>, 'call'>[]): Promise<number[]> {
  const usages = () => Promise.all(processes.map((each) => each.call('usage')));
  const before = await usages();
  const began_ms = performance.now();
  await sleep(IDLE_MS);
  const after = await usages();
  const took_us = (performance.now() - began_ms) * 1_000;
  return after.map(({ cpu_us }, at) => (100 * (cpu_us - (before[at]?.cpu_us ?? 0))) / took_us);
}

/** The share as a table row with its target. */
export const idleRow = (percent: number): string[] => [
  'processor time while idle, of one core',
  `${percent.toFixed(2)} %`,
  ...atMost(percent, MAX_IDLE_PERCENT, ' %'),
];
