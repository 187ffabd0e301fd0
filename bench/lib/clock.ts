/** Epoch milliseconds with their fraction: processes of one machine agree on it to some microseconds. */
export const nowMs = (): number => performance.timeOrigin + performance.now();
