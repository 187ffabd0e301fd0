/**
 * Profile `latest`: the GenAI conventions of autumn 2026. The correlator uses them itself, so spans and log records stay
 * unchanged. The instruments are defined here, with the bucket boundaries that the conventions give.
 */
import { ValueType } from '@opentelemetry/api';
import type { InstrumentName } from '../../model/telemetry.js';
import type { Instrument, MetricTable, Profile } from './table.js';

export function multiples(first: number, last: number, factor: number): number[] {
  const bounds = [];
  for (let bound = first; bound <= last; bound *= factor) bounds.push(bound);
  return bounds;
}

/** In seconds. */
export const CALL_DURATIONS = multiples(0.01, 81.92, 2);
const AGENT_DURATIONS = multiples(0.1, 409.6, 2);
const CALLS_PER_RUN = multiples(1, 128, 2);

/** An instrument without its name, which is that of the measurement. */
type Definition = Omit<Instrument, 'name'>;

/** Events do not say which tokens are text. The conventions require a modality, and have this value for it. */
const UNKNOWN_MODALITY = { 'gen_ai.token.modality': 'unknown' };

const tokens = (description: string): Definition => ({
  unit: '{token}',
  description,
  value_type: ValueType.INT,
  added: UNKNOWN_MODALITY,
});
const seconds = (description: string, buckets: number[]): Definition => ({
  unit: 's',
  description,
  value_type: ValueType.DOUBLE,
  buckets,
});
const calls = (description: string): Definition => ({
  unit: '{call}',
  description,
  value_type: ValueType.INT,
  buckets: CALLS_PER_RUN,
});

const DEFINITIONS: Readonly<Record<InstrumentName, Definition>> = {
  'gen_ai.client.inference.usage.input_tokens': tokens('Input tokens of model calls, cached input included.'),
  'gen_ai.client.inference.usage.output_tokens': tokens('Output tokens of model calls, reasoning included.'),
  'gen_ai.client.inference.usage.cache_read.input_tokens': tokens(
    'Input tokens that were read from a cache.',
  ),
  'gen_ai.client.inference.usage.cache_write.input_tokens': tokens(
    'Input tokens that were written to a cache.',
  ),
  'gen_ai.client.inference.usage.reasoning.output_tokens': tokens(
    'Output tokens that were spent on reasoning.',
  ),
  'gen_ai.client.inference.duration': seconds('How long a model call took.', CALL_DURATIONS),
  'gen_ai.execute_tool.duration': seconds('How long a tool call took.', CALL_DURATIONS),
  'gen_ai.invoke_agent.duration': seconds('How long an agent run took.', AGENT_DURATIONS),
  'gen_ai.invoke_agent.inference_calls': calls("Model calls of an agent run, without its sub-agents'."),
  'gen_ai.invoke_agent.tool_calls': calls("Tool calls of an agent run, without its sub-agents'."),
  'openclaw.cost': { unit: '{USD}', description: 'What model calls cost.', value_type: ValueType.DOUBLE },
};

const named = Object.entries(DEFINITIONS).map(([name, definition]) => [name, { name, ...definition }]);

export const LATEST_METRICS: MetricTable = {
  attributes: {},
  instruments: Object.fromEntries(named) as MetricTable['instruments'],
};

export const LATEST: Profile = { metrics: LATEST_METRICS };
