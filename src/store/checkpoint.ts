/**
 * Where the bridge stopped: how far each source that can be asked again was read, and everything that the correlator knew
 * then. One file, replaced as a whole.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { errorCode } from '../errors.js';
import { makeDataDirectory, replaceFile } from './directory.js';

const FILE = 'checkpoint';
const VERSION = 1;

/** `S`: what the correlator gives as its snapshot. */
export interface Checkpoint<S> {
  /** By the source's name, then by its stream's. */
  positions: Record<string, Record<string, unknown>>;
  correlator: S;
}

export interface CheckpointStore<S> {
  /** What an earlier process left; undefined at a first start. A damaged file is told as `damaged`. */
  read(): Promise<Checkpoint<S> | 'damaged' | undefined>;
  /** Throws the system's error where it can't be written. */
  write(checkpoint: Checkpoint<S>): void;
}

const isCheckpoint = (value: unknown): value is { version: number } =>
  typeof value === 'object' && value !== null && 'version' in value && value.version === VERSION;

export function openCheckpointStore<S>(directory: string): CheckpointStore<S> {
  const path = join(directory, FILE);
  return {
    async read() {
      let content: Buffer;
      try {
        content = await readFile(path);
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
      try {
        const value: unknown = deserialize(content);
        return isCheckpoint(value) ? (value as unknown as Checkpoint<S>) : 'damaged';
      } catch {
        return 'damaged';
      }
    },
    write(checkpoint) {
      makeDataDirectory(directory);
      replaceFile(path, serialize({ version: VERSION, ...checkpoint }));
    },
  };
}
