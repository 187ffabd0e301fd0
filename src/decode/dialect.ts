/** The wire forms of events. Apart from their decoders, so that to name them is not to load them. */

export const DIALECTS = ['auto', 'catalog', 'gateway', 'transcript'] as const;
export type Dialect = (typeof DIALECTS)[number];
