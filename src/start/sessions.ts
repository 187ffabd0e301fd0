/**
 * Looks up the sessions of transcripts in the `sessions.json` beside them, which has session keys, parents and labels. A
 * running OpenClaw rewrites it all the time, so a missing session may be there on the next look-up; the file is read again only
 * if it has changed.
 */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { readTranscriptIndex, type TranscriptIndex, type TranscriptSession } from '../decode/index.js';
import { livingPath } from '../source/index.js';
import { errorReason } from '../util/errors.js';

const SESSIONS_FILE = 'sessions.json';

/** A stream is named by the path of its file, followed by a number after a rotation. */
const FILE_STREAM = /^(?:file:)?(.+?)(?:#\d+)?$/s;

function transcriptOf(stream: string): string | undefined {
  const path = livingPath(FILE_STREAM.exec(stream)?.[1] ?? '');
  return path.endsWith('.jsonl') ? path : undefined;
}

/** Identifies the file's content: OpenClaw creates a new file each time, with another inode. */
function versionOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats && `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}

/** OpenClaw keeps an agent's transcripts in `agents/<agent>/sessions`. */
const AGENT_DIRECTORY = /[\\/]agents[\\/]([^\\/]+)[\\/]sessions$/;

const agentOf = (directory: string): string | undefined => AGENT_DIRECTORY.exec(resolve(directory))?.[1];

interface LiveIndex extends TranscriptIndex {
  /** The session whose file has this name: a session that was reset is no longer found by its id. */
  ofFile(name: string): TranscriptSession | undefined;
}

type Warn = (message: string) => void;

const reasonOf = (error: unknown): string =>
  error instanceof SyntaxError ? 'it is not valid JSON' : errorReason(error);

function createLiveIndex(path: string, warn: Warn): LiveIndex {
  let version: string | undefined;
  let index: ReadonlyMap<string, TranscriptSession> = new Map();
  /** The last reason why it could not be read, which was reported. */
  let problem: string | undefined;

  /** While it can't be read, its previous content still holds. */
  function refresh(): void {
    try {
      const found = versionOf(path);
      if (found === undefined || found === version) return;
      const content = readFileSync(path, 'utf8');
      version = found;
      index = readTranscriptIndex(JSON.parse(content));
      problem = undefined;
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === problem) return;
      problem = reason;
      warn(
        `can't read ${path}: ${reason}; until it can be read, new sessions go by their ids, without parents`,
      );
    }
  }

  return {
    get(session_id) {
      refresh();
      return index.get(session_id);
    },
    ofFile(name) {
      return [...index.values()].find(({ file }) => file === name);
    },
  };
}

/**
 * Creates a function that returns the index for a stream; undefined if the stream's name is not that of a transcript. `warn` gets
 * a message if a `sessions.json` can't be read.
 */
export function createSessionsLookup(warn: Warn = () => {}): (stream: string) => TranscriptIndex | undefined {
  const indexes = new Map<string, LiveIndex>();
  return (stream) => {
    const path = transcriptOf(stream);
    if (path === undefined) return undefined;
    const directory = dirname(path);
    const index = indexes.get(directory) ?? createLiveIndex(join(directory, SESSIONS_FILE), warn);
    indexes.set(directory, index);
    return {
      get: (session_id) => index.get(session_id) ?? index.ofFile(basename(path)),
      agent_id: agentOf(directory),
    };
  };
}
