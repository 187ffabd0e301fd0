/**
 * The lines that the gateway source emits, in the recording form: pushed frames, rebuilt frames, rows with reasoning tokens,
 * and marks for missed frames.
 */
import type { Json } from '../../../util/json.js';
import { own, recordedAt } from './facts.js';
import type { Gap } from './gap.js';
import type { RebuiltFrame } from './rebuild.js';

/** Puts the JSON of a frame on one line: line breaks are only possible where JSON allows any white space. */
const onOneLine = (json: string): string => (/[\r\n]/.test(json) ? json.replaceAll(/[\r\n]+/g, ' ') : json);

/** A frame as it was received. */
export const pushedLine = (json: string): string => `{"rx":${Date.now()},"frame":${onOneLine(json)}}`;

export const rebuiltLine = ({ event, payload, is_gap }: RebuiltFrame): string =>
  JSON.stringify({
    rx: Date.now(),
    rebuilt: true,
    ...(is_gap ? { gap: true } : {}),
    frame: { type: 'event', event, payload },
  });

/** A message that is stored but was not pushed. */
export const storedLine = (session_key: string, row: Json): string =>
  rebuiltLine({
    ts_ms: recordedAt(row),
    event: 'session.message',
    payload: { sessionKey: session_key, messageId: own(row).id, message: row },
    is_gap: false,
  });

export const rowsLine = (messages: Json[]): string =>
  JSON.stringify({ rx: Date.now(), frame: { type: 'res', ok: true, payload: { messages } } });

/** `unknown`: the sessions that could not be recovered completely; true if it is not known which. */
export const missedLine = ({ reason, since_ms }: Gap, until_ms: number, unknown: true | string[]): string =>
  JSON.stringify({ rx: Date.now(), missed: { reason, since_ms, until_ms, unknown } });

/** Stands for a model call whose reasoning tokens are not asked for, so that it is counted. Nothing else is missing. */
export const leftOutLine = (): string =>
  JSON.stringify({ rx: Date.now(), missed: { reason: 'reasoning_tokens', unknown: [] } });
