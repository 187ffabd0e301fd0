/**
 * The lines that following a gateway gives out, in the recording form: what was pushed, what is rebuilt of the past, rows that
 * tell of reasoning tokens, and what was missed.
 */
import type { Json } from '../../util/json.js';
import type { Gap } from './gap.js';
import type { RebuiltFrame } from './rebuild.js';

/** Text of a frame on one line: a line break can stand in JSON only where any white space could. */
const onOneLine = (json: string): string => (/[\r\n]/.test(json) ? json.replaceAll(/[\r\n]+/g, ' ') : json);

/** A frame as it came. */
export const pushedLine = (json: string): string => `{"rx":${Date.now()},"frame":${onOneLine(json)}}`;

export const rebuiltLine = ({ event, payload, is_gap }: RebuiltFrame): string =>
  JSON.stringify({
    rx: Date.now(),
    rebuilt: true,
    ...(is_gap ? { gap: true } : {}),
    frame: { type: 'event', event, payload },
  });

export const rowsLine = (messages: Json[]): string =>
  JSON.stringify({ rx: Date.now(), frame: { type: 'res', ok: true, payload: { messages } } });

/** `unknown`: the sessions of which not all could be had; true where nobody knows which. */
export const missedLine = ({ reason, since_ms }: Gap, until_ms: number, unknown: true | string[]): string =>
  JSON.stringify({ rx: Date.now(), missed: { reason, since_ms, until_ms, unknown } });
