/** Units of the settings, of messages and of times. */
export const BYTES_PER_MB = 1024 * 1024;

/** OTLP's timestamps are 64-bit nanoseconds, which end in the year 2554. In epoch milliseconds. */
export const MAX_EPOCH_MS = 18_446_744_073_709;
