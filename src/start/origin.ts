/**
 * Where the sources are named, for messages about them.
 */
export type NamesOrigin = '--from' | 'the configuration file';

/** The option replaces what the file names. */
export const namesOrigin = (options: { from?: unknown }): NamesOrigin =>
  options.from === undefined ? 'the configuration file' : '--from';
