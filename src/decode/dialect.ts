/** The wire formats of events. Separate from their decoders, so that naming one does not load them. */

/**
 * `catalog`: events as docs/events.md has them; `gateway`: frames of OpenClaw's gateway; `transcript`: session files of
 * OpenClaw 2026.6 and older; `auto`: detected from the first JSON object of a stream.
 */
export const DIALECTS = ['auto', 'catalog', 'gateway', 'transcript'] as const;
/** The wire format of a stream's lines: one of `DIALECTS`. */
export type Dialect = (typeof DIALECTS)[number];
