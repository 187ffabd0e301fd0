/**
 * What happens once before the integration tests: the program is built, since they run it as users do, and each backend
 * whose tests will be skipped is named.
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
