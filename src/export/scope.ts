/**
 * The origin of the telemetry: the instrumentation scope of every span, metric and log record, and the `user-agent` of every
 * request. The version is the package's.
 */
import { VERSION } from '../version.js';

const NAME = 'openclaw-otel-bridge';

/** A single object, since the serializers group by its identity. */
export const SCOPE = { name: NAME, version: VERSION } as const;

export const USER_AGENT = `${NAME}/${VERSION}`;
