/**
 * Where the backends are installed, and what to do about a missing one: its tests are skipped on a developer's machine and
 * fail under CI, where a skipped test would go unnoticed.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The working directory of the tests is the repository. */
export const REPOSITORY = process.cwd();

const HOME = process.env.INTEGRATION_HOME ?? join(REPOSITORY, '.cache/integration');

export const EXECUTABLES = {
  clawmetry: join(HOME, 'clawmetry/bin/clawmetry'),
  'clawmetry-otel': join(HOME, 'clawmetry-otel/bin/clawmetry'),
  jaeger: join(HOME, 'bin/jaeger'),
  prometheus: join(HOME, 'bin/prometheus'),
  collector: join(HOME, 'bin/otelcol'),
  compose: join(HOME, 'bin/container-check'),
  openclaw: join(HOME, 'bin/openclaw'),
} as const;

export type BackendName = keyof typeof EXECUTABLES;

export const BACKEND_NAMES = Object.keys(EXECUTABLES) as BackendName[];

const isCi = (process.env.CI ?? '') !== '';

/** What to do if a backend is not installed; `undefined` if it is. */
export function missing(name: BackendName): string | undefined {
  const path = EXECUTABLES[name];
  return existsSync(path)
    ? undefined
    : `${name} is not installed at ${path}: run test/integration/install.sh ${name}`;
}

/** Whether the tests of a backend are skipped. */
export const isSkipped = (name: BackendName): boolean => !isCi && missing(name) !== undefined;
