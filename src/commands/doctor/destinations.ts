/**
 * Checks the destinations that `run` would send to: the response of each to an empty export of each signal that it would get,
 * in the encoding that would be used.
 */
import {
  type ConsoleConfig,
  type DestinationConfig,
  type EndpointConfig,
  probeEndpoint,
  resourceProblem,
} from '../../export/index.js';
import type { Signal } from '../../model/delivery.js';
import { chooseDestinations } from '../../start/destinations.js';
import type { Settings } from '../../start/settings.js';
import { readStart, request } from '../../util/undici.js';
import { describeOutcome, type Finding } from './answers.js';
import { type Check, ok, problem, warning } from './check.js';

const PROBE_TIMEOUT_MS = 5_000;
const STATUS_TIMEOUT_MS = 1_000;
/** How much of a response is read: another server may be there, and send one that never ends. */
const MAX_STATUS_BYTES = 64 * 1024;

interface Probed extends Finding {
  signal: Signal;
  /** The URL without the signal's path. */
  base: string;
}

/** Probes an endpoint. The bridge switches to JSON if protobuf is not implemented, so JSON is probed then. */
async function findOut(
  signal: Signal,
  endpoint: EndpointConfig,
  config: DestinationConfig,
): Promise<Finding> {
  const outcome = await probeEndpoint(endpoint, signal, PROBE_TIMEOUT_MS);
  const changes = outcome.kind === 'answered' && outcome.status === 501 && endpoint.encoding === 'protobuf';
  if (!changes) return describeOutcome(outcome, endpoint, config);
  const finding = await findOut(signal, { ...endpoint, encoding: 'json' }, config);
  return finding.level === 'ok'
    ? { ...finding, found: `${finding.found}; protobuf is not supported` }
    : finding;
}

async function probe(signal: Signal, endpoint: EndpointConfig, config: DestinationConfig): Promise<Probed> {
  const base = endpoint.url.replace(`/v1/${signal}`, '');
  return { signal, base, ...(await findOut(signal, endpoint, config)) };
}

/** `traces`, `traces and logs`, `traces, metrics and logs` */
const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;

/** Whether ClawMetry has its extra for protobuf, which the bridge does not need; ClawMetry reports that itself. */
async function clawmetryNote(base: string): Promise<string> {
  try {
    const signal = AbortSignal.timeout(STATUS_TIMEOUT_MS);
    const { body } = await request(`${base}/api/otel-status`, { method: 'GET', signal });
    const { protobuf } = JSON.parse(await readStart(body, MAX_STATUS_BYTES)) as { protobuf?: unknown };
    if (protobuf === true) return '; its [otel] extra is installed, so it accepts protobuf too';
    return protobuf === false ? '; its [otel] extra is not installed, but the bridge does not need it' : '';
  } catch {
    return '';
  }
}

async function noteOf({ preset }: DestinationConfig, { base, level }: Probed): Promise<string> {
  if (level !== 'ok') return '';
  if (preset === 'jaeger') return '; metrics and logs are not sent, since Jaeger does not accept them';
  return preset === 'clawmetry' ? clawmetryNote(base) : '';
}

/** Downgrades a problem if the backend takes other signals: this one is lost, and the others are delivered. */
const soften = (each: Probed): Probed =>
  each.level === 'problem'
    ? {
        ...each,
        level: 'warning',
        advice: `${each.advice}; or stop sending it with "signals" in the configuration file`,
      }
    : each;

const isAlike = (a: Probed, b: Probed): boolean =>
  a.base === b.base && a.found === b.found && a.advice === b.advice;

/** Signals with the same finding share a line. */
async function checkDestination(config: DestinationConfig): Promise<Check[]> {
  const endpoints = Object.entries(config.endpoints) as [Signal, EndpointConfig][];
  const found = await Promise.all(endpoints.map(([signal, endpoint]) => probe(signal, endpoint, config)));
  const probed = found.some(({ level }) => level === 'ok') ? found.map(soften) : found;
  const firsts = probed.filter((each, index) => probed.findIndex((other) => isAlike(each, other)) === index);
  const checks = firsts.map(async (first): Promise<Check> => {
    const { base, level, advice } = first;
    const signals = probed.filter((each) => isAlike(each, first)).map(({ signal }) => signal);
    const what = `${base}, ${list(signals)}: ${first.found}${await noteOf(config, first)}`;
    return { check: `to ${config.name}`, level, found: what, ...(advice === undefined ? {} : { advice }) };
  });
  return Promise.all(checks);
}

const checkEach = async (config: DestinationConfig | ConsoleConfig): Promise<Check[]> =>
  config.preset === 'console' ? [ok(`to ${config.name}`, 'prints to stdout')] : checkDestination(config);

function checkResource(): Check[] {
  const unusable = resourceProblem();
  return unusable === undefined ? [] : [warning('resource', unusable)];
}

export async function checkDestinations(settings: Settings): Promise<Check[]> {
  const chosen = await chooseDestinations(settings);
  if ('error' in chosen) return [problem('destinations', chosen.error)];
  const { configs, found } = chosen;
  const why = found === undefined ? [] : [ok('destinations', `${found.to}: ${found.why}`)];
  return [...why, ...checkResource(), ...(await Promise.all(configs.map(checkEach))).flat()];
}
