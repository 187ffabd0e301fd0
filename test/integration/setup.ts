/**
 * Runs once before the integration tests: builds the program, which they run as users do, and names each backend whose
 * tests are skipped.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { BACKEND_NAMES, isSkipped, missing, REPOSITORY } from './installed.js';

export function setup(): void {
  const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    cwd: REPOSITORY,
    stdio: 'inherit',
  });
  for (const name of BACKEND_NAMES) {
    if (isSkipped(name)) process.stderr.write(`skipping the tests with ${name}: ${missing(name)}\n`);
  }
}
