/** Paths as people write them. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A `~` at the beginning stands for the home directory: a shell leaves it as it is behind a colon, and in a file there is none. */
export const fromHome = (path: string): string =>
  /^~(?:\/|$)/.test(path) ? join(homedir(), path.slice(1)) : path;
