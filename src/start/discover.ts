/**
 * Discovers a destination if none is named: the endpoint that the environment names, else ClawMetry, else whatever takes OTLP
 * on its usual port, else the terminal. ClawMetry listens on the OTLP port too, so the two are never both used.
 */
import { EMPTY_JSON, environmentNamesEndpoint, isPage, PRESETS, type PresetName } from '../export/index.js';
import type { Signal } from '../model/delivery.js';
import { readStart, request } from '../util/undici.js';

export interface Choice {
  /** A value of `--to`. */
  to: PresetName;
  /** The reason for the choice, for the log. */
  why: string;
}

const PROBE_TIMEOUT_MS = 1_000;

/** How much of a response is read: a server may send one that never ends. */
const MAX_ANSWER_BYTES = 4_096;

interface Probe {
  method: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: string;
}

async function answersWith(
  url: string,
  probe: Probe,
  isRight: (status: number, body: string) => boolean,
): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, {
      ...probe,
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    return isRight(statusCode, await readStart(body, MAX_ANSWER_BYTES));
  } catch {
    return false;
  }
}

const hasStatus = (base: string): Promise<boolean> =>
  answersWith(
    `${base}/api/otel-status`,
    { method: 'GET' },
    (status, body) => status === 200 && body.startsWith('{'),
  );

const takesOtlp = (base: string, signal: Signal): Promise<boolean> =>
  answersWith(
    `${base}/v1/${signal}`,
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: EMPTY_JSON[signal] },
    (status, body) => status === 200 && !isPage(Buffer.from(body)),
  );

/** A server that takes OTLP on ClawMetry's own port counts as ClawMetry, even without its status page. */
const isClawMetry = async (base: string): Promise<boolean> =>
  (await hasStatus(base)) || takesOtlp(base, 'traces');

/** Jaeger takes only traces, and would refuse the rest. */
async function discoverOtlp(base: string): Promise<Choice | undefined> {
  if (!(await takesOtlp(base, 'traces'))) return undefined;
  return (await takesOtlp(base, 'metrics'))
    ? { to: 'collector', why: `an OTLP receiver answers at ${base}` }
    : { to: 'jaeger', why: `an OTLP receiver that accepts traces but not metrics answers at ${base}` };
}

/** Where ClawMetry, and any OTLP receiver, is looked for. */
const BASES = { clawmetry: PRESETS.clawmetry.url, otlp: PRESETS.collector.url };

/** Discovers a destination. */
export async function discoverDestination({ clawmetry, otlp } = BASES): Promise<Choice> {
  if (environmentNamesEndpoint()) return { to: 'otlp', why: 'OTEL_EXPORTER_OTLP_* sets the endpoint' };
  if (await isClawMetry(clawmetry)) return { to: 'clawmetry', why: `ClawMetry answers at ${clawmetry}` };
  const found = await discoverOtlp(otlp);
  if (found !== undefined) return found;
  return { to: 'console', why: `neither ClawMetry (${clawmetry}) nor an OTLP receiver (${otlp}) answers` };
}
