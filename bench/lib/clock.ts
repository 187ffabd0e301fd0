/** Epoch milliseconds with fractions; the processes of a machine agree on it to within microseconds. */
export const nowMs = (): number => performance.timeOrigin + performance.now();
