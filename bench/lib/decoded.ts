/**
 * Events decoded from the bytes of a line, as the correlator gets them, so that what it stores of them has its real size.
 */
import { createLineDecoder } from '../../src/decode/index.js';
import type { AgentEvent } from '../../src/model/event.js';

const decoder = createLineDecoder('catalog');

export function decoded(event: object, now_ms: number): AgentEvent {
  const { events, rejected } = decoder.decode(Buffer.from(JSON.stringify(event)), now_ms);
  const [first] = events;
  if (first === undefined) throw new Error(`not an event: ${rejected?.message}`);
  return first;
}
