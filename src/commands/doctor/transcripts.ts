/**
 * Checks OpenClaw's own files on this machine. Older versions store each session as a JSONL file; 2026.9 stores none, and its
 * gateway reports all that would be in them.
 */
import { type Dirent, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isTranscript } from '../../source/transcripts/directories.js';
import { openclawDirectory } from '../../start/openclaw.js';
import { counted } from '../../util/counted.js';
import { errorCode, errorReason } from '../../util/errors.js';
import type { Variables } from '../../util/variables.js';
import { type Check, ok, warning } from './check.js';

const NAME = 'OpenClaw files';

/** The entries of a directory; empty if there is none. */
function list(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return [];
    throw error;
  }
}

const countTranscripts = (agent: string): number =>
  list(join(agent, 'sessions')).filter(({ name }) => isTranscript(name)).length;

export function checkTranscripts(env: Variables): Check {
  const directory = openclawDirectory(env);
  try {
    if (list(directory).length === 0)
      return ok(NAME, `none in ${directory}: OpenClaw may run on another machine or as another user`);
    const agents = join(directory, 'agents');
    const counts = list(agents).map(({ name }) => countTranscripts(join(agents, name)));
    const count = counts.reduce((total, each) => total + each, 0);
    return count > 0
      ? ok(NAME, `${counted(count, 'transcript')} in ${agents}`)
      : ok(NAME, `no transcripts in ${agents}: OpenClaw 2026.9 writes none; its gateway reports everything`);
  } catch (error) {
    return warning(
      NAME,
      `can't read ${directory}: ${errorReason(error)}`,
      'to read transcripts, run the bridge as the user who runs OpenClaw',
    );
  }
}
