/**
 * The resource: the service and the host that the telemetry is about. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`
 * override the defaults, `openclaw` on this host. Because of one invalid part OpenTelemetry's reader silently ignores the whole
 * variable. Here only that part is ignored, and reported; the start does not fail, since the variable may be meant for another
 * program.
 */
import { hostname, networkInterfaces } from 'node:os';
import { getStringFromEnv } from '@opentelemetry/core';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import { newInstanceId } from '../util/instance-id.js';

/** ClawMetry assigns this service name to its OpenClaw runtime. */
const SERVICE_NAME = 'openclaw';

const LOOPBACK = '127.0.0.1';

/**
 * Jaeger assumes that spans with the same address share a clock, and reads the address from `ip`. Without it, a run that
 * continues after its parent has ended is marked as skewed.
 */
function hostAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? LOOPBACK;
}

const ATTRIBUTES_VARIABLE = 'OTEL_RESOURCE_ATTRIBUTES';

interface Part {
  /** Counted from 1. */
  place: number;
  text: string;
  /** Decoded; absent if it is invalid. */
  attribute?: [key: string, value: string];
}

function readAttribute(text: string): [string, string] | undefined {
  const [key = '', value, ...more] = text.split('=').map((each) => each.trim());
  if (key === '' || value === undefined || more.length > 0) return undefined;
  try {
    return [decodeURIComponent(key), decodeURIComponent(value)];
  } catch {
    return undefined;
  }
}

const readParts = (): Part[] =>
  (getStringFromEnv(ATTRIBUTES_VARIABLE) ?? '').split(',').flatMap((text, index): Part[] => {
    if (text.trim() === '') return [];
    const attribute = readAttribute(text);
    return [{ place: index + 1, text, ...(attribute === undefined ? {} : { attribute }) }];
  });

/** The most invalid parts that are named. */
const MOST_NAMED = 10;

/** A part without "=" may be the rest of a value, which may be secret. */
function describePart({ place, text }: Part): string {
  const [, key] = /^\s*([\w.-]{1,100})\s*=/.exec(text) ?? [];
  return key === undefined ? `part ${place}` : `part ${place} ("${key}")`;
}

/** Which parts of the environment's attributes are ignored, and how to correct them; `undefined` if none are. */
export function resourceProblem(): string | undefined {
  const unusable = readParts().filter(({ attribute }) => attribute === undefined);
  if (unusable.length === 0) return undefined;
  const parts = unusable.slice(0, MOST_NAMED).map(describePart).join(', ');
  const more = unusable.length - MOST_NAMED;
  return (
    `${ATTRIBUTES_VARIABLE}: invalid and ignored: ${parts}${more > 0 ? ` and ${more} more` : ''}; ` +
    'write KEY=VALUE,KEY=VALUE, with "," in a value as %2C, "=" as %3D and "%" as %25'
  );
}

function environmentAttributes(): Record<string, string> {
  const attributes = Object.fromEntries(
    readParts().flatMap(({ attribute }) => (attribute ? [attribute] : [])),
  );
  const service_name = getStringFromEnv('OTEL_SERVICE_NAME');
  return { ...attributes, ...(service_name === undefined ? {} : { 'service.name': service_name }) };
}

/** The instance id of this process, if none is given. */
const PROCESS_INSTANCE = newInstanceId();

/**
 * Reads the environment at the time of the call. The instance id identifies the writer of the metrics: series continue after a
 * restart only if it stays the same.
 */
export function createResource(instance_id = PROCESS_INSTANCE): Resource {
  const known = resourceFromAttributes({
    'service.name': SERVICE_NAME,
    'service.instance.id': instance_id,
    'host.name': hostname(),
    ip: hostAddress(),
  });
  return known.merge(resourceFromAttributes(environmentAttributes()));
}
