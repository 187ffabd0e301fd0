/**
 * The tests of a file run at the same time, since each of them mostly waits for a program that it has started. What they
 * leave behind goes away at the end of their file: which test is running, nobody could tell before.
 */
import { afterAll, test as serial, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000, maxConcurrency: 3 });

export const test = serial.concurrent;

/** A test for what not every system has. */
export const testIf = (is_possible: boolean) => serial.runIf(is_possible);

const cleanups: (() => void)[] = [];

export const atEndOfFile = (cleanup: () => void): void => {
  cleanups.push(cleanup);
};

afterAll(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});
