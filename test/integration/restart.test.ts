/**
 * ClawMetry is stopped and started in the middle of a busy replay: its own count of accepted spans and the bridge's count
 * of delivered ones agree, and every trace is complete.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { traceId } from '../cli/ids.js';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { lawBreakers, startBridge } from './bridge.js';
import { type ClawMetry, startClawMetry } from './clawmetry.js';

const REQUESTS = 120;
const CALLS = 4;
const SPANS = REQUESTS * (CALLS + 2);
const DOWN_MS = 3_000;

let clawmetry: ClawMetry;
let directory: string;
beforeAll(async () => {
  clawmetry = await startClawMetry();
  directory = await temporaryDirectory();
}, 120_000);
afterAll(async () => {
  await clawmetry?.stop();
  if (directory !== undefined) await removeDirectory(directory);
});

/** Requests to an agent, each a run with one model call and some tool calls. */
function recording(): string {
  const lines: object[] = [];
  const start_ms = Date.now() - REQUESTS * 100;
  for (let request = 0; request < REQUESTS; request++) {
    let ts = start_ms + request * 100;
    const common = { session_key: `agent:main:busy-${request}`, run_id: `run-${request}`, agent_id: 'main' };
    const tell = (type: string, fields: object = {}): void => {
      ts += 5;
      lines.push({ type, ts, ...common, ...fields });
    };
    tell('agent.started', { session_id: `00000000-0000-4000-8000-${String(request).padStart(12, '0')}` });
    tell('llm.tokens', {
      model: 'm',
      provider: 'p',
      input_tokens: 100,
      output_tokens: 10,
      reasoning_tokens: 4,
      response_id: `response-${request}`,
    });
    for (let call = 0; call < CALLS; call++) {
      tell('tool.call', { call_id: `call-${request}-${call}`, tool: 'exec' });
      tell('tool.output', { call_id: `call-${request}-${call}` });
    }
    tell('agent.finished', { status: 'ok' });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

test("ClawMetry's count of accepted spans and the bridge's count of delivered ones agree", async () => {
  const file = join(directory, 'busy.ndjson');
  await writeFile(file, recording());
  const bridge = await startBridge([
    'replay',
    file,
    '--to',
    `clawmetry=${clawmetry.otlp_url}`,
    '--data-dir',
    join(directory, 'data'),
    '--deadline',
    '90',
  ]);
  const before = await takenAfter(200);
  await clawmetry.restart(DOWN_MS);
  const { status, summary } = await bridge.ended;
  expect(status).toBe(0);
  expect(lawBreakers(summary)).toEqual([]);
  expect(summary.destinations.clawmetry?.traces).toMatchObject({ produced: SPANS, delivered: SPANS });
  expect(before).toBeLessThan(SPANS);

  // A request whose response was lost is sent again, so ClawMetry may have received more; it stores each span once.
  const { intake } = await clawmetry.status();
  expect(intake.signals.traces.items).toMatchObject({ rejected: 0, retry_requested: 0 });
  let held = 0;
  for (let request = 0; request < REQUESTS; request++) {
    const { spans } = await clawmetry.trace(traceId(`agent:main:busy-${request}`, `run-${request}`));
    held += new Set(spans.map(({ span_id }) => span_id)).size;
    expect(spans).toHaveLength(CALLS + 2);
  }
  expect(held).toBe(summary.destinations.clawmetry?.traces?.delivered);
});

/** Waits until it has accepted at least `count` spans, and returns their number. */
async function takenAfter(count: number): Promise<number> {
  for (;;) {
    const { intake } = await clawmetry.status();
    const { received } = intake.signals.traces.items;
    if (received >= count) return received;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
