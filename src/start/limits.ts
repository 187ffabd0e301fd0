/**
 * The bounds that a user can set, in the configuration file and in the library alike.
 */
import { z } from 'zod';
import { strictSettings } from '../util/schema.js';
import { BYTES_PER_MB } from '../util/units.js';

export const limitsSchema = strictSettings({
  /** What the destinations may hold in memory, together. */
  memory_mb: z.number().min(1).max(1_000_000).default(256),
  /** What the store may hold on the disk. */
  store_mb: z.number().min(1).max(10_000_000).default(2048),
  /** A longer line is passed over. */
  line_bytes: z.int().min(1_024).max(1_000_000_000).default(BYTES_PER_MB),
  /** Content that one attribute holds, with `content`. */
  content_bytes: z
    .int()
    .min(16)
    .max(1_000_000)
    .default(16 * 1024),
});

export const storeSchema = strictSettings({
  /** How often everything is written down at one instant; what comes in between is in the journal. */
  checkpoint_interval_ms: z.number().min(100).max(600_000).default(5_000),
});
