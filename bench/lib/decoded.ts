/** Events as the correlator gets them: out of the bytes of a line, so that what it keeps of them has the size that it really has. */
import { createLineDecoder } from '../../src/decode/index.js';
import type { AgentEvent } from '../../src/model/event.js';

const decoder = createLineDecoder('catalog');

export function decoded(event: object, now_ms: number): AgentEvent {
  const { events, rejected } = decoder.decode(Buffer.from(JSON.stringify(event)), now_ms);
  const [first] = events;
  if (first === undefined) throw new Error(`not an event: ${rejected?.message}`);
  return first;
}
