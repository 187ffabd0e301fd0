/**
 * Creates sources: from the parsed value of a `--from` to a source that can be opened.
 */
import type { Positions, Source } from '../model/source.js';
import { createFileSource } from './file/file.js';
import { createFollowSource, DEFAULT_POLL_INTERVAL_MS } from './file/follow.js';
import { DEFAULT_MAX_LINE_BYTES } from './lines.js';
import { createOtlpSource } from './otlp/index.js';
import type { ParsedSource } from './parse.js';
import { createListenSource } from './socket/listen.js';
import { type Backoff, createSocketSource, DEFAULT_BACKOFF } from './socket/socket.js';
import { createStdinSource } from './stdin.js';
import { createTranscriptsSource } from './transcripts/index.js';

export { withFallback } from './fallback.js';
export { checkRecordings, createRecordingsSource, recordingsName } from './file/recordings.js';
export { enterGateway } from './gateway/connection/access.js';
export type { Connection } from './gateway/connection/connection.js';
export type { Refusal } from './gateway/connection/refusals.js';
export {
  type Access,
  type Credentials,
  createGatewaySource,
  type Device,
  type Devices,
  GATEWAY_BACKOFF,
  type GatewayOptions,
  type GatewayPosition,
  type OpenRun,
} from './gateway/index.js';
export { LOOPBACK, type ParsedSource, type ParseFailure, parseSourceName } from './parse.js';
export { createPushedSource, PUSHED, type PushedSource, type PushOutcome } from './pushed.js';
export type { ConnectAddress } from './socket/connect.js';
export type { Backoff } from './socket/socket.js';
export { livingPath } from './transcripts/archives.js';
export { holdsTranscripts } from './transcripts/directories.js';

/** The least limit of a transcript's lines: a user's message holds its images. Without such a line its whole run would be missing. */
const TRANSCRIPT_LINE_BYTES = 32 * 1024 * 1024;

/** The kinds that `createSource` creates. */
export type LineSourceKind = 'stdin' | 'file' | 'socket' | 'listen' | 'transcripts' | 'otlp';
/** A source that `createSource` creates, as parsed by `parseSourceName`. */
export type LineSource = Extract<ParsedSource, { kind: LineSourceKind }>;

/** How a source is read. */
export interface SourceOptions {
  /** Whether a file is read to its end (`replay`) or followed (`run`). Sockets never end, stdin always does. */
  mode: 'to_end' | 'follow';
  /** Longer lines are skipped; 1 MiB by default, for `transcripts` at least 32 MiB. */
  max_line_bytes?: number;
  /** Whether `transcripts` emits what the files already hold; by default it emits what is added. */
  from_start?: boolean;
  /** `transcripts` emits what was written since then, epoch milliseconds; by default since opening. */
  since_ms?: number;
  /** Where an earlier process stopped, for a followed file, transcripts or `otlp`. */
  resume?: Positions;
  /** Backoff for a lost connection; 0.2 s to 5 s by default. */
  backoff?: Backoff;
}

/** Whether `createSource` can create this one. */
export function isLineSource(parsed: ParsedSource): parsed is LineSource {
  return parsed.kind !== 'gateway';
}

/** Creates a source; nothing is opened yet. */
export function createSource(parsed: LineSource, options: SourceOptions): Source {
  const { mode, max_line_bytes = DEFAULT_MAX_LINE_BYTES, backoff = DEFAULT_BACKOFF, resume = {} } = options;
  switch (parsed.kind) {
    case 'stdin':
      return createStdinSource({ max_line_bytes, input: process.stdin });
    case 'file':
      return mode === 'to_end'
        ? createFileSource(parsed.name, parsed.path, { max_line_bytes })
        : createFollowSource(parsed.name, parsed.path, {
            max_line_bytes,
            poll_interval_ms: DEFAULT_POLL_INTERVAL_MS,
            resume,
          });
    case 'socket':
      return createSocketSource(parsed.name, parsed.address, { max_line_bytes, backoff });
    case 'listen':
      return createListenSource(parsed.name, parsed.address, max_line_bytes);
    case 'transcripts':
      return createTranscriptsSource(parsed.name, parsed.directory, {
        max_line_bytes: Math.max(max_line_bytes, TRANSCRIPT_LINE_BYTES),
        from_start: options.from_start ?? false,
        since_ms: options.since_ms,
        poll_interval_ms: DEFAULT_POLL_INTERVAL_MS,
        resume,
      });
    case 'otlp':
      return createOtlpSource(parsed.name, parsed.address, { max_line_bytes, resume });
  }
}
