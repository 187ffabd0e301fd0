/**
 * Many copies of a recorded request with sub-agents and announcements, each with ids of its own and otherwise unchanged.
 * The frames are decoded in advance, since the other programs only read events.
 */
import { readFileSync } from 'node:fs';
import { createLineDecoder } from '../../src/decode/index.js';

export interface Recorded {
  copies: number;
}

/** About as many events as the generated workload has. */
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
