/**
 * The resource: which service, on which machine, the telemetry is about. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`
 * come first; what they leave open is `openclaw` on this host.
 */
import { hostname, networkInterfaces } from 'node:os';
import {
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';

/** ClawMetry files this service name under its OpenClaw runtime. */
const SERVICE_NAME = 'openclaw';

const LOOPBACK = '127.0.0.1';

/**
 * Jaeger takes spans of one address for spans of one clock, and reads it under the name `ip`. Without it a run that goes on
 * after its parent has ended is marked as skewed.
 */
function hostAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? LOOPBACK;
}

/** Reads the environment at the time of the call. */
export function createResource(): Resource {
  const host = hostname();
  const known = resourceFromAttributes({
    'service.name': SERVICE_NAME,
    'service.instance.id': host,
    'host.name': host,
    ip: hostAddress(),
  });
  return known.merge(detectResources({ detectors: [envDetector] }));
}
