/**
 * Runs the tests of a file concurrently, since each mostly waits for a program that it started. Clean-up happens at the end
 * of the file, because hooks can't tell which of the running tests they belong to.
 */
import { afterAll, test as serial, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000, maxConcurrency: 3 });

export const test = serial.concurrent;

/** A test of something that not every system supports. */
export const testIf = (is_possible: boolean) => serial.runIf(is_possible);

const cleanups: (() => void)[] = [];

export const atEndOfFile = (cleanup: () => void): void => {
  cleanups.push(cleanup);
};

afterAll(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});
