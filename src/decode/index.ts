/**
 * Dialects: which decoder a stream of lines gets, said by the user or seen from the stream's first JSON object.
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
/** Most lines tell by their first byte. */
const isBlank = (bytes: Buffer): boolean => isWhite(bytes[0] ?? 0x20) && bytes.every(isWhite);

/** Decodes the lines of one stream. It never throws: what is wrong with a line is said in what it gives. */
export interface LineDecoder {
  /**
   * Takes one line, without its line end. `arrival_ms`: when it was read, epoch milliseconds: the time of what tells none itself,
   * unless it is a recording that has its own arrival times.
   */
  decode(bytes: Buffer, arrival_ms: number): Decoded;
  /** The stream has ended: gives out the events that were held back for a following line. */
  end(): Decoded['events'];
  /** The dialect that it was given, or what it saw in the first object; until then `auto`. */
  dialect(): Dialect;
}

/** One whose memory can be written down, and taken back by another one of the same stream. */
export interface RememberingDecoder extends LineDecoder {
  memory(): DecoderMemory;
}

/**
 * A decoder for one stream of lines. With `auto` the first line that is a JSON object decides; lines before it are
 * rejected as they would be in any dialect. `sessions` names the sessions of transcript files, see `readTranscriptIndex`; of what
 * was written in one before `since_ms`, epoch milliseconds, nothing is told.
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
