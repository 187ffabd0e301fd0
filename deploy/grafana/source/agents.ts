/**
 * The dashboard *Agents*: what they did, for how long, with which tools and models, at what cost, and what went wrong. All of
 * it is from the bridge's own metrics, but for the sub-agents: those are known from spans, by the Collector.
 */
import type { Dashboard } from '@grafana/schema';
import { chart, dashboard, labelVariable, type Section, stat, table } from './panels.js';
import {
  grown,
  orNone,
  orNoneOf,
  perMinute,
  perSecond,
  quantileNow,
  quantileOfRange,
  series,
  share,
} from './queries.js';

const AGENT = 'gen_ai_agent_name';
const TOOL = 'gen_ai_tool_name';
const MODEL = 'gen_ai_request_model';
const ERROR = 'error_type';
const FAILED = `${ERROR}!=""`;

const ofAgents = (name: string, ...selectors: string[]): string =>
  series(name, `${AGENT}=~"$agent"`, ...selectors);

const RUN = 'gen_ai_invoke_agent_duration_seconds';
const TOOL_CALL = 'gen_ai_execute_tool_duration_seconds';
const MODEL_CALL = 'gen_ai_client_inference_duration_seconds';
const usage = (kind: string): string => ofAgents(`gen_ai_client_inference_usage_${kind}_total`);

const count = (histogram: string, ...selectors: string[]): string =>
  ofAgents(`${histogram}_count`, ...selectors);
const buckets = (histogram: string, ...selectors: string[]): string =>
  ofAgents(`${histogram}_bucket`, ...selectors);

const INPUT = usage('input_tokens');
const CACHED = usage('cache_read_input_tokens');
const OUTPUT = usage('output_tokens');
const REASONING = usage('reasoning_output_tokens');
const COST = ofAgents('openclaw_cost_total');

const SPANS = 'traces_span_metrics_duration_seconds';
const OF_SUBAGENTS = 'openclaw_subagent="true"';

const SUBSETS =
  'Cached tokens are part of the input tokens, and reasoning tokens part of the output tokens: do not add them up.';
const FROM_SPANS =
  'Counted from the spans that passed through the Collector (span_metrics), including repeats after a crash. Empty without a Collector.';

const overview: Section = {
  title: 'In the time range',
  panels: [
    stat({ title: 'Runs', expr: orNone(grown(count(RUN))) }),
    stat({ title: 'Failed runs', expr: orNone(grown(count(RUN, FAILED))), is_bad: true }),
    stat({
      title: 'Sub-agents',
      description: FROM_SPANS,
      expr: grown(count(SPANS, OF_SUBAGENTS)),
      no_value: 'none seen',
    }),
    stat({ title: 'Tool calls', expr: orNone(grown(count(TOOL_CALL))) }),
    stat({ title: 'Failed tool calls', expr: orNone(grown(count(TOOL_CALL, FAILED))), is_bad: true }),
    stat({ title: 'Model calls', expr: orNone(grown(count(MODEL_CALL))) }),
    stat({ title: 'Failed model calls', expr: orNone(grown(count(MODEL_CALL, FAILED))), is_bad: true }),
    stat({ title: 'Cost', expr: orNone(grown(COST)), unit: 'currencyUSD' }),
    stat({ title: 'Input tokens', expr: orNone(grown(INPUT)) }),
    stat({
      title: 'of them cached',
      expr: share(orNone(grown(CACHED)), grown(INPUT)),
      unit: 'percentunit',
      no_value: '–',
    }),
    stat({ title: 'Output tokens', expr: orNone(grown(OUTPUT)) }),
    stat({ title: 'of them reasoning', description: SUBSETS, expr: orNone(grown(REASONING)) }),
    stat({
      title: 'Reasoning in output',
      expr: share(orNone(grown(REASONING)), grown(OUTPUT)),
      unit: 'percentunit',
      no_value: '–',
    }),
    stat({
      title: 'Tool calls a run',
      description: 'Without those of its sub-agents.',
      expr: share(
        grown(ofAgents('gen_ai_invoke_agent_tool_calls_sum')),
        grown(ofAgents('gen_ai_invoke_agent_tool_calls_count')),
      ),
      decimals: 1,
      no_value: '–',
    }),
    stat({
      title: 'Model calls a run',
      description: 'Without those of its sub-agents.',
      expr: share(
        grown(ofAgents('gen_ai_invoke_agent_inference_calls_sum')),
        grown(ofAgents('gen_ai_invoke_agent_inference_calls_count')),
      ),
      decimals: 1,
      no_value: '–',
    }),
    stat({
      title: 'Run, median',
      expr: quantileOfRange(0.5, buckets(RUN)),
      unit: 's',
      no_value: '–',
    }),
  ],
};

const runs: Section = {
  title: 'Runs',
  panels: [
    chart({
      title: 'Runs by agent',
      queries: [{ expr: perMinute(count(RUN), AGENT), legend: `{{${AGENT}}}` }],
      unit: 'suffix:/min',
      stacked: true,
    }),
    chart({
      title: 'Run duration',
      queries: [
        { expr: quantileNow(0.5, buckets(RUN)), legend: 'median' },
        { expr: quantileNow(0.95, buckets(RUN)), legend: '95 %' },
      ],
      unit: 's',
    }),
    chart({
      title: 'Errors by type',
      description: 'A run that fails because of one of its calls is counted in addition to the call.',
      queries: [
        { expr: perMinute(count(RUN, FAILED), ERROR), legend: `run: {{${ERROR}}}` },
        { expr: perMinute(count(TOOL_CALL, FAILED), ERROR), legend: `tool: {{${ERROR}}}` },
        { expr: perMinute(count(MODEL_CALL, FAILED), ERROR), legend: `model: {{${ERROR}}}` },
      ],
      unit: 'suffix:/min',
    }),
    chart({
      title: 'Failed runs by agent',
      queries: [
        { expr: perMinute(count(RUN, FAILED), `${AGENT}, ${ERROR}`), legend: `{{${AGENT}}}: {{${ERROR}}}` },
      ],
      unit: 'suffix:/min',
    }),
  ],
};

const tools: Section = {
  title: 'Tools',
  panels: [
    table({
      title: 'Tools',
      rows: [{ label: TOOL, title: 'Tool' }],
      columns: [
        { title: 'Calls', expr: grown(count(TOOL_CALL), TOOL) },
        {
          title: 'Failed',
          expr: orNoneOf(grown(count(TOOL_CALL, FAILED), TOOL), grown(count(TOOL_CALL), TOOL)),
        },
        {
          title: 'Share failed',
          expr: share(
            orNoneOf(grown(count(TOOL_CALL, FAILED), TOOL), grown(count(TOOL_CALL), TOOL)),
            grown(count(TOOL_CALL), TOOL),
          ),
          unit: 'percentunit',
        },
        { title: 'Median', expr: quantileOfRange(0.5, buckets(TOOL_CALL), TOOL), unit: 's' },
        { title: '95 %', expr: quantileOfRange(0.95, buckets(TOOL_CALL), TOOL), unit: 's' },
        { title: 'In all', expr: grown(ofAgents(`${TOOL_CALL}_sum`), TOOL), unit: 's' },
      ],
    }),
    chart({
      title: 'Tool calls',
      queries: [{ expr: perMinute(count(TOOL_CALL), TOOL), legend: `{{${TOOL}}}` }],
      unit: 'suffix:/min',
      stacked: true,
    }),
    chart({
      title: 'Failed tool calls',
      queries: [
        {
          expr: perMinute(count(TOOL_CALL, FAILED), `${TOOL}, ${ERROR}`),
          legend: `{{${TOOL}}}: {{${ERROR}}}`,
        },
      ],
      unit: 'suffix:/min',
    }),
  ],
};

const models: Section = {
  title: 'Models',
  panels: [
    table({
      title: 'Models',
      description: SUBSETS,
      rows: [{ label: MODEL, title: 'Model' }],
      columns: [
        { title: 'Calls', expr: grown(count(MODEL_CALL), MODEL) },
        {
          title: 'Failed',
          expr: orNoneOf(grown(count(MODEL_CALL, FAILED), MODEL), grown(count(MODEL_CALL), MODEL)),
        },
        { title: 'Input', expr: grown(INPUT, MODEL) },
        { title: 'of it cached', expr: grown(CACHED, MODEL) },
        { title: 'Output', expr: grown(OUTPUT, MODEL) },
        { title: 'of it reasoning', expr: grown(REASONING, MODEL) },
        { title: 'Cost', expr: grown(COST, MODEL), unit: 'currencyUSD' },
        { title: '95 %', expr: quantileOfRange(0.95, buckets(MODEL_CALL), MODEL), unit: 's' },
      ],
    }),
    chart({
      title: 'Input tokens',
      description: SUBSETS,
      queries: [
        { expr: perMinute(INPUT), legend: 'input' },
        { expr: perMinute(CACHED), legend: 'of it cached' },
      ],
      unit: 'suffix:/min',
    }),
    chart({
      title: 'Output tokens',
      description: SUBSETS,
      queries: [
        { expr: perMinute(OUTPUT), legend: 'output' },
        { expr: perMinute(REASONING), legend: 'of it reasoning' },
      ],
      unit: 'suffix:/min',
    }),
    chart({
      title: 'Model call duration',
      queries: [{ expr: quantileNow(0.95, buckets(MODEL_CALL), MODEL), legend: `{{${MODEL}}}, 95 %` }],
      unit: 's',
    }),
    chart({
      title: 'Cost by model',
      queries: [{ expr: `${perSecond(COST, MODEL)} * 3600`, legend: `{{${MODEL}}}` }],
      unit: 'suffix: $/h',
      stacked: true,
    }),
  ],
};

const subagents: Section = {
  title: 'Sub-agents, from spans',
  panels: [
    table({
      title: 'Sub-agents',
      description: FROM_SPANS,
      rows: [{ label: AGENT, title: 'Sub-agent' }],
      columns: [
        { title: 'Runs', expr: grown(count(SPANS, OF_SUBAGENTS), AGENT) },
        {
          title: 'Failed',
          expr: orNoneOf(
            grown(count(SPANS, OF_SUBAGENTS, FAILED), AGENT),
            grown(count(SPANS, OF_SUBAGENTS), AGENT),
          ),
        },
        { title: 'In all', expr: grown(ofAgents(`${SPANS}_sum`, OF_SUBAGENTS), AGENT), unit: 's' },
      ],
    }),
    chart({
      title: "Sub-agents' runs",
      description: FROM_SPANS,
      queries: [{ expr: perMinute(count(SPANS, OF_SUBAGENTS), AGENT), legend: `{{${AGENT}}}` }],
      unit: 'suffix:/min',
      stacked: true,
    }),
    chart({
      title: 'Durations, with traces',
      description: 'Points link to traces in Jaeger.',
      queries: [
        {
          expr: quantileNow(0.95, buckets(SPANS), 'gen_ai_operation_name'),
          legend: '{{gen_ai_operation_name}}, 95 %',
          exemplar: true,
        },
      ],
      unit: 's',
    }),
  ],
};

export const agents: Dashboard = dashboard(
  {
    uid: 'openclaw-agents',
    title: 'Agents',
    description: "What OpenClaw's agents did: runs, tools, model calls, tokens, cost and errors.",
  },
  [labelVariable('agent', AGENT, `${RUN}_count`, 'Agent')],
  [overview, runs, tools, models, subagents],
);
