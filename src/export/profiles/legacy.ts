/**
 * Profile `legacy`: earlier names of the GenAI conventions, when `gen_ai.system` was the provider, which many backends and
 * dashboards still read. Where they had no name, the current one is used, so nothing is left out. Tokens that are part of
 * others, reasoning above all, never get a token type of their own, so that no sum counts them twice.
 */
import { ValueType } from '@opentelemetry/api';
import { LATEST_METRICS, multiples } from './latest.js';
import type { AttributeRule, Instrument, Profile } from './table.js';

const SYSTEM = 'gen_ai.system';

/** Spans and log records use the same names. */
const ATTRIBUTES: Readonly<Record<string, Pick<AttributeRule<unknown>, 'name'>>> = {
  'gen_ai.provider.name': { name: SYSTEM },
  'gen_ai.usage.cache_read.input_tokens': { name: 'gen_ai.usage.cache_read_input_tokens' },
  'gen_ai.usage.cache_write.input_tokens': { name: 'gen_ai.usage.cache_creation_input_tokens' },
};

const TOKENS = multiples(1, 67_108_864, 4);

/** One histogram for both, distinguished by the only two token types that the conventions ever had. */
const tokenUsage = (type: 'input' | 'output'): Instrument => ({
  name: 'gen_ai.client.token.usage',
  unit: '{token}',
  description: 'Input and output tokens of model calls.',
  value_type: ValueType.INT,
  buckets: TOKENS,
  added: { 'gen_ai.token.type': type },
});

const { instruments } = LATEST_METRICS;

export const LEGACY: Profile = {
  span: { attributes: ATTRIBUTES },
  log: { attributes: ATTRIBUTES },
  metrics: {
    attributes: { 'gen_ai.provider.name': SYSTEM },
    instruments: {
      ...instruments,
      'gen_ai.client.inference.usage.input_tokens': tokenUsage('input'),
      'gen_ai.client.inference.usage.output_tokens': tokenUsage('output'),
      'gen_ai.client.inference.duration': {
        ...instruments['gen_ai.client.inference.duration'],
        name: 'gen_ai.client.operation.duration',
      },
    },
  },
};
