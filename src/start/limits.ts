/**
 * The limits that a user can set, in the configuration file as well as in the library.
 */
import { z } from 'zod';
import { strictSettings } from '../util/schema.js';
import { BYTES_PER_MB } from '../util/units.js';

export const limitsSchema = strictSettings({
  /** The memory limit of all destinations together. */
  memory_mb: z.number().min(1).max(1_000_000).default(256),
  /** The disk limit of the store. */
  store_mb: z.number().min(1).max(10_000_000).default(2048),
  /** Longer lines are skipped. */
  line_bytes: z.int().min(1_024).max(1_000_000_000).default(BYTES_PER_MB),
  /** The maximum content of one attribute, with `content`. */
  content_bytes: z
    .int()
    .min(16)
    .max(1_000_000)
    .default(16 * 1024),
});

export const storeSchema = strictSettings({
  /** How often a checkpoint of everything is taken; what comes in between is in the journal. */
  checkpoint_interval_ms: z.number().min(100).max(600_000).default(5_000),
});
