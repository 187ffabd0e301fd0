/**
 * Archived transcripts: OpenClaw renames a transcript when its session is reset or deleted, and no longer writes to it. To find
 * those archived while the bridge was not watching, the names of the known ones are stored, which needs no clock. Only the
 * latest names are stored: whatever was archived before all of them counts as known too, by the times in the names, which are
 * only compared with each other.
 */
import { basename } from 'node:path';
import { isTranscript } from './directories.js';

/** Names that are stored: far more than a clock that is set back, or listing several directories in turn, can put out of order. */
export const MAX_KNOWN_ARCHIVES = 256;

/** Paths in the order in which they were archived. Plain data. */
export type KnownArchives = readonly string[];

const ARCHIVED = /\.(?:reset|deleted)\.(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?Z)$/;

/** The path that a transcript had before it was archived. */
export const livingPath = (path: string): string => path.replace(ARCHIVED, '');

/** When a transcript was archived, according to its name; undefined if it is not an archive. */
function archivedAt(path: string): string | undefined {
  const [, at] = ARCHIVED.exec(path) ?? [];
  return isTranscript(basename(livingPath(path))) ? at : undefined;
}

export const isArchive = (path: string): boolean => archivedAt(path) !== undefined;

/** The path decides between archives of the same time. */
const orderOf = (path: string): string => `${archivedAt(path)} ${path}`;

export const inOrder = (paths: readonly string[]): string[] =>
  paths
    .map((path) => ({ path, order: orderOf(path) }))
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .map(({ path }) => path);

export function isKnown(known: KnownArchives, path: string): boolean {
  const [oldest] = known;
  const is_full = known.length === MAX_KNOWN_ARCHIVES && oldest !== undefined;
  return (is_full && orderOf(path) < orderOf(oldest)) || known.includes(path);
}

export const withKnown = (known: KnownArchives, paths: readonly string[]): KnownArchives =>
  inOrder([...new Set([...known, ...paths])]).slice(-MAX_KNOWN_ARCHIVES);
