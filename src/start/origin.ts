/**
 * Where the names of the sources stand, for what is said about them.
 */
export type NamesOrigin = '--from' | 'the configuration file';

/** The option takes the place of what the file names. */
export const namesOrigin = (options: { from?: unknown }): NamesOrigin =>
  options.from === undefined ? 'the configuration file' : '--from';
