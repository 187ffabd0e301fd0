/**
 * The error that the library throws for wrong options, and the check of a value against its schema.
 */
import type { z } from 'zod';

/** An option is wrong. The message says which, what is wrong with it, and what would be right; it contains no secret. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError';
}

/** `place`: the path of the option, in dotted form; empty for the options as a whole. */
export const wrong = (place: string, problem: string): ConfigurationError =>
  new ConfigurationError(`${place || 'options'}: ${problem}`);

/** The parsed value; throws a `ConfigurationError` with the first problem. */
export function check<S extends z.ZodType>(schema: S, value: unknown, place: string): z.output<S> {
  const { data, error } = schema.safeParse(value);
  const [issue] = error?.issues ?? [];
  if (issue === undefined) return data as z.output<S>;
  throw wrong([place, ...issue.path.map(String)].filter(Boolean).join('.'), issue.message);
}
