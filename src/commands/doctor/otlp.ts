/**
 * Checks the address on which `run` would receive log records: whether it is free.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { ParsedSource } from '../../source/index.js';
import { errorCode, errorReason } from '../../util/errors.js';
import { type Check, ok, problem, warning } from './check.js';

const NAME = 'source';

export async function checkOtlp(
  { name, address }: Extract<ParsedSource, { kind: 'otlp' }>,
  origin: string,
): Promise<Check> {
  const server = createServer();
  try {
    await once(server.listen(address), 'listening');
    await once(server.close(), 'close');
    return ok(NAME, `${name} (${origin}) is free`);
  } catch (error) {
    const found = `can't listen on ${name} (${origin}): ${errorReason(error)}`;
    // A running bridge may be using it, or another program.
    if (errorCode(error) === 'EADDRINUSE')
      return warning(
        NAME,
        found,
        'unless that is a running bridge, stop that process or use another address',
      );
    return problem(NAME, found, 'use another address');
  }
}
