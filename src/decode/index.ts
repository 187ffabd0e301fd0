/**
 * Selects the decoder for a stream of lines: by the dialect that the user names, or the one detected from the stream's first
 * JSON object.
 */

import type { Json } from '../util/json.js';
import { createCatalogDecoder } from './catalog.js';
import type { Decoded, Decoder, DecoderMemory } from './decoder.js';
import type { Dialect } from './dialect.js';
import { createGatewayDecoder, looksLikeFrame } from './gateway/index.js';
import { parseLine } from './line.js';
import { createTranscriptDecoder, looksLikeTranscript, type TranscriptIndex } from './transcript.js';

export type { Decoded, Rejection, RejectReason } from './decoder.js';
export { DIALECTS, type Dialect } from './dialect.js';
export { readTranscriptIndex, type TranscriptIndex, type TranscriptSession } from './transcript.js';

function detectDialect(value: Json): Exclude<Dialect, 'auto'> {
  if (looksLikeFrame(value)) return 'gateway';
  return looksLikeTranscript(value) ? 'transcript' : 'catalog';
}

function createDialectDecoder(
  dialect: Exclude<Dialect, 'auto'>,
  sessions?: TranscriptIndex,
  since_ms?: number,
): Decoder {
  switch (dialect) {
    case 'catalog':
      return createCatalogDecoder();
    case 'gateway':
      return createGatewayDecoder();
    case 'transcript':
      return createTranscriptDecoder(sessions, since_ms);
  }
}

const WHITE_SPACE: ReadonlySet<number> = new Set([0x09, 0x0b, 0x0c, 0x0d, 0x20]);

const isWhite = (byte: number): boolean => WHITE_SPACE.has(byte);
/** The first byte decides for most lines. */
const isBlank = (bytes: Buffer): boolean => isWhite(bytes[0] ?? 0x20) && bytes.every(isWhite);

/** Decodes the lines of one stream. It never throws: its result says what is wrong with a line. */
export interface LineDecoder {
  /**
   * Decodes one line, without its line end. `arrival_ms`: when it was read, epoch milliseconds. It is the time of events that
   * have none of their own, unless the line is of a recording with arrival times.
   */
  decode(bytes: Buffer, arrival_ms: number): Decoded;
  /** The stream has ended: returns the events that were held for a following line. */
  end(): Decoded['events'];
  /** The dialect that was given, or detected from the first object; until then `auto`. */
  dialect(): Dialect;
}

/** A decoder whose memory can be persisted, and restored by another one for the same stream. */
export interface RememberingDecoder extends LineDecoder {
  memory(): DecoderMemory;
}

/**
 * Creates a decoder for one stream of lines. With `auto` the first line that is a JSON object decides; lines before it are
 * rejected as they would be in any dialect. `sessions` names the sessions of transcript files, see `readTranscriptIndex`.
 * Entries of a transcript from before `since_ms`, epoch milliseconds, only serve as context.
 */
export const createLineDecoder = (
  dialect: Dialect,
  sessions?: TranscriptIndex,
  since_ms?: number,
): LineDecoder => createRememberingDecoder(dialect, sessions, since_ms);

export function createRememberingDecoder(
  dialect: Dialect,
  sessions?: TranscriptIndex,
  since_ms?: number,
): RememberingDecoder {
  let decided = dialect;
  let decoder: Decoder | undefined;

  function decide(as: Exclude<Dialect, 'auto'>): Decoder {
    decided = as;
    decoder = createDialectDecoder(as, sessions, since_ms);
    return decoder;
  }

  if (dialect !== 'auto') decide(dialect);
  return {
    decode(bytes, arrival_ms) {
      if (isBlank(bytes)) return { events: [], ignored: 'blank' };
      const line = parseLine(bytes);
      if ('rejected' in line) return { events: [], rejected: line.rejected };
      return (decoder ?? decide(detectDialect(line.value))).decode(line.value, arrival_ms);
    },
    end: () => decoder?.end() ?? [],
    dialect: () => decided,
    memory: () => decoder?.memory ?? {},
  };
}
