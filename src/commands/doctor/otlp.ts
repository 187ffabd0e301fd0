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
    return ok(NAME, `${name} (${origin}) can be listened on`);
  } catch (error) {
    const found = `${name} (${origin}) can't be listened on: ${errorReason(error)}`;
    // A running bridge may be using it, or another program.
    if (errorCode(error) === 'EADDRINUSE')
      return warning(NAME, found, 'if that is no bridge which runs already, stop it or give another address');
    return problem(NAME, found, 'give another address');
  }
}
