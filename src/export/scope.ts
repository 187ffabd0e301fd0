/**
 * Who the telemetry says it comes from: the instrumentation scope on every span, log and metric, and the `user-agent` of
 * every request. The version is the package's own.
 */
import { createRequire } from 'node:module';

const NAME = 'openclaw-otel-bridge';
const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** One object for all: the serializers group by its identity. */
export const SCOPE = { name: NAME, version } as const;

export const USER_AGENT = `${NAME}/${version}`;
