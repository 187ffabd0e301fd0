/**
 * Who the telemetry says it comes from: the instrumentation scope on every span, log and metric, and the `user-agent` of
 * every request. The version is the package's own.
 */
import { VERSION } from '../version.js';

const NAME = 'openclaw-otel-bridge';

/** One object for all: the serializers group by its identity. */
export const SCOPE = { name: NAME, version: VERSION } as const;

export const USER_AGENT = `${NAME}/${VERSION}`;
