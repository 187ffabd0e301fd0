/**
 * A request as a gateway told it, with sub-agents that announce what they found, many times: each copy has ids of its own, and all
 * else as it was recorded. The frames are decoded beforehand, since the programs that the bridge is compared with read events.
 */
import { readFileSync } from 'node:fs';
import { createLineDecoder } from '../../src/decode/index.js';

export interface Recorded {
  copies: number;
}

/** About as many events as the made-up load has. */
export const RECORDED: Recorded = { copies: 2_000 };

const RECORDING = 'examples/sub-agents.ndjson';
const UUID = /\b[0-9a-f]{4}([0-9a-f]{4}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/g;
const ID_DIGITS = 4;

/** The events of the recording, as lines. */
function recordedLines(): string[] {
  const decoder = createLineDecoder('gateway');
  const frames = readFileSync(RECORDING, 'utf8').split('\n');
  const events = frames.flatMap((frame) => decoder.decode(Buffer.from(frame), 0).events);
  return [...events, ...decoder.end()].map((event) => `${JSON.stringify(event)}\n`);
}

/** The lines of all copies, one copy after the other. */
export function* copiesOf({ copies }: Recorded): Generator<string[]> {
  const lines = recordedLines();
  for (let copy = 0; copy < copies; copy++) {
    const id = copy.toString(16).padStart(ID_DIGITS, '0');
    yield lines.map((line) =>
      line
        .replace(UUID, `${id}$1`)
        .replaceAll('agent:main:demo', `agent:main:demo-${id}`)
        .replaceAll('chatcmpl-lab', `chatcmpl-lab-${id}-`),
    );
  }
}
