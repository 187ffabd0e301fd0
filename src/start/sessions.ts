/**
 * Names the sessions of transcripts by their neighbour `sessions.json`, which tells session keys, parents and labels. A
 * running OpenClaw writes it all the time, so that a session which it does not have may be there when it is asked again;
 * it is read again only where it changed.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readTranscriptIndex, type TranscriptIndex } from '../decode/index.js';
import { livingPath } from '../source/index.js';

const SESSIONS_FILE = 'sessions.json';

/** A stream is named by its file's path; after a rotation with a number behind it. */
const FILE_STREAM = /^(?:file:)?(.+?)(?:#\d+)?$/s;

function transcriptOf(stream: string): string | undefined {
  const path = livingPath(FILE_STREAM.exec(stream)?.[1] ?? '');
  return path.endsWith('.jsonl') ? path : undefined;
}

/** OpenClaw writes the file anew each time, under another inode. */
function versionOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}

function createLiveIndex(path: string): TranscriptIndex {
  let version: string | undefined;
  let index: TranscriptIndex = new Map();

  function refresh(): void {
    try {
      const found = versionOf(path);
      if (found === undefined || found === version) return;
      version = found;
      index = readTranscriptIndex(JSON.parse(readFileSync(path, 'utf8')));
    } catch {
      // Not to be read, or not whole at this moment: what it said before still holds.
    }
  }

  return {
    get(session_id) {
      const known = index.get(session_id);
      if (known !== undefined) return known;
      refresh();
      return index.get(session_id);
    },
  };
}

/** Gives the index for a stream; undefined where it is no transcript by its name. */
export function createSessionsLookup(): (stream: string) => TranscriptIndex | undefined {
  const indexes = new Map<string, TranscriptIndex>();
  return (stream) => {
    const path = transcriptOf(stream);
    if (path === undefined) return undefined;
    const directory = dirname(path);
    const index = indexes.get(directory) ?? createLiveIndex(join(directory, SESSIONS_FILE));
    indexes.set(directory, index);
    return index;
  };
}
