/**
 * Archived transcripts: OpenClaw renames a transcript when its session is reset or deleted, and writes it no more. One that
 * came while nobody looked has to be told from those before it, so the names of those that are known are kept: that takes
 * no clock. In time they are many; the latest are kept, and what was archived before all of these is known as well, by
 * OpenClaw's own clock, which is compared with itself alone.
 */
import { basename } from 'node:path';
import { isTranscript } from './transcript-directories.js';

/** Names that are kept: far more than a clock that is put back, or looks at several directories in turn, can confuse. */
export const MAX_KNOWN_ARCHIVES = 256;

/** Paths, those first that were archived first. Plain data. */
export type KnownArchives = readonly string[];

const ARCHIVED = /\.(?:reset|deleted)\.(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?Z)$/;

/** The path that a transcript had before it was archived. */
export const livingPath = (path: string): string => path.replace(ARCHIVED, '');

/** When a transcript was archived, as its name says; undefined where it is not. */
function archivedAt(path: string): string | undefined {
  const [, at] = ARCHIVED.exec(path) ?? [];
  return isTranscript(basename(livingPath(path))) ? at : undefined;
}

export const isArchive = (path: string): boolean => archivedAt(path) !== undefined;

/** Two may have been archived at the same instant. */
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
