/**
 * What a run is asked, as OpenClaw stores it: a message whose idempotency key is the run's id and `:user`, whoever wrote it and
 * whatever role it is pushed with.
 */
import { type Json, object, text } from '../util/json.js';

const SUFFIX = ':user';

/** The run that a message starts, or undefined where it starts none or names none. */
export function runOfInput(message: Json): string | undefined {
  const key = text(message.idempotencyKey) ?? text(object(message.__openclaw).idempotencyKey);
  return key?.endsWith(SUFFIX) ? key.slice(0, -SUFFIX.length) : undefined;
}
