/**
 * The run of a stored message, by its idempotency key. That of a run's input is the run's id followed by `:user`, whoever wrote
 * it and whatever role it is pushed with. The answer of a command-line agent (`claude-cli`) names its run in no other way.
 */
import { type Json, object, text } from '../util/json.js';

const SUFFIX = ':user';
const CLI_PREFIX = 'cli-assistant:';

const keyOf = (message: Json): string | undefined =>
  text(message.idempotencyKey) ?? text(object(message.__openclaw).idempotencyKey);

/** The run of a command-line agent's answer, or undefined if it is none. */
export function runOfCliAnswer(message: Json): string | undefined {
  const key = keyOf(message);
  return key?.startsWith(CLI_PREFIX) ? key.slice(CLI_PREFIX.length) : undefined;
}

/** The run that a message starts, or undefined if it starts none or names none. */
export function runOfInput(message: Json): string | undefined {
  const key = keyOf(message);
  return key?.endsWith(SUFFIX) ? key.slice(0, -SUFFIX.length) : undefined;
}
