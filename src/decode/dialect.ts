/** The wire forms of events. Apart from their decoders, so that to name them is not to load them. */

/**
 * `catalog`: events as docs/events.md has them; `gateway`: frames of OpenClaw's gateway; `transcript`: session files of OpenClaw
 * 2026.4.29 and older; `auto`: seen from the first JSON object of a stream.
 */
export const DIALECTS = ['auto', 'catalog', 'gateway', 'transcript'] as const;
/** The wire form of a stream's lines: one of `DIALECTS`. */
export type Dialect = (typeof DIALECTS)[number];
