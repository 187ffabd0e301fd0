/**
 * The resource: which service, on which machine, the telemetry is about. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`
 * come first; what they leave open is `openclaw` on this host.
 */
import { hostname } from 'node:os';
import {
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';

/** ClawMetry files this service name under its OpenClaw runtime. */
const SERVICE_NAME = 'openclaw';

/** Reads the environment at the time of the call. */
export function createResource(): Resource {
  const known = resourceFromAttributes({ 'service.name': SERVICE_NAME, 'service.instance.id': hostname() });
  return known.merge(detectResources({ detectors: [envDetector] }));
}
