/**
 * The input of a run as OpenClaw stores it: a message whose idempotency key is the run's id followed by `:user`, whoever wrote
 * it and whatever role it is pushed with.
 */
import { type Json, object, text } from '../util/json.js';

const SUFFIX = ':user';

/** The run that a message starts, or undefined if it starts none or names none. */
export function runOfInput(message: Json): string | undefined {
  const key = text(message.idempotencyKey) ?? text(object(message.__openclaw).idempotencyKey);
  return key?.endsWith(SUFFIX) ? key.slice(0, -SUFFIX.length) : undefined;
}
