/**
 * Recordings of a real gateway, its later answers about them, and the parts of a span that must be the same whichever of the
 * two it comes from.
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { createCorrelator } from '../../../src/correlate/index.js';
import { createLineDecoder } from '../../../src/decode/index.js';
import type { Emission, SpanRecord } from '../../../src/model/telemetry.js';
import type { SessionAnswers } from '../../../src/source/gateway/backfill/answers.js';
import { merge } from '../../helpers.js';

export const SCENARIOS = ['tools', 'spawn', 'abort', 'err500'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface Answers {
  since_ms: number;
  sessions: SessionAnswers[];
}

const fixture = (name: string): string =>
  readFileSync(new URL(`../../fixtures/rebuild/${name}`, import.meta.url), 'utf8');

export const recordedLines = (scenario: Scenario): string[] =>
  fixture(`${scenario}.ndjson`).trim().split('\n');
export const answersOf = (scenario: Scenario): Answers => JSON.parse(fixture(`${scenario}.answers.json`));

/** Everything that is emitted for lines. */
export function emittedBy(lines: string[]): Emission {
  const decoder = createLineDecoder('gateway');
  const correlator = createCorrelator();
  const emissions = lines.flatMap((line) =>
    decoder.decode(Buffer.from(line), 0).events.map((event) => correlator.apply(event, event.ts)),
  );
  return merge([...emissions, correlator.close(0)]);
}

/** Spans by id; expects each id once. */
export function byId({ spans }: Emission): Map<string, SpanRecord> {
  const found = new Map(spans.map((span) => [span.span_id, span]));
  expect(found.size).toBe(spans.length);
  return found;
}

/** The spans of lines by id; expects each id once. */
export const spansOf = (lines: string[]): Map<string, SpanRecord> => byId(emittedBy(lines));

const STARTS_AND_ENDS = new Set([
  'openclaw.agent_started',
  'openclaw.agent_finished',
  'openclaw.tool_call',
  'openclaw.tool_result',
  'openclaw.llm_tokens',
]);

/** Event name and span id of each start and end that the gateway's answers report again. */
export const startsAndEnds = ({ logs, spans }: Emission): string[] => {
  const stored = new Set(spans.filter(isStored).map(({ span_id }) => span_id));
  return logs
    .filter(({ event_name, span_id }) => STARTS_AND_ENDS.has(event_name) && stored.has(span_id))
    .map(({ event_name, span_id }) => `${event_name} ${span_id}`);
};

/** Whether the gateway stores the span. A model call without usage is known only from phase events, which are not stored. */
export const isStored = (span: SpanRecord): boolean =>
  span.kind !== 'chat' || span.attributes['gen_ai.usage.input_tokens'] !== undefined;

/** False for a call of a tool that does not exist: OpenClaw stores only the end of such a call. */
export const isOfKnownTool = (span: SpanRecord): boolean =>
  span.attributes['gen_ai.tool.name'] !== 'no_such_tool';

export const essence = ({
  trace_id,
  parent_span_id,
  name,
  error,
  attributes,
  links,
}: SpanRecord): object => ({
  trace_id,
  parent_span_id,
  name,
  error: error !== undefined,
  links,
  call_id: attributes['gen_ai.tool.call.id'],
  exit_code: attributes['openclaw.tool.exit_code'],
  stop_reason: attributes['openclaw.stop_reason'],
  input_tokens: attributes['gen_ai.usage.input_tokens'],
  output_tokens: attributes['gen_ai.usage.output_tokens'],
  reasoning_tokens: attributes['gen_ai.usage.reasoning.output_tokens'],
  gap: attributes['openclaw.gap'],
});

/** The most by which times in the audit log and in frames differ. */
export const CLOSE_MS = 50;
