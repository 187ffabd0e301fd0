/**
 * What the library throws where its options are wrong, and how a value is checked against its schema.
 */
import type { z } from 'zod';

/** An option is wrong. The message says which, what is wrong with it, and what would be right; it holds no secret. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError';
}

/** `place`: which option it is, in dotted form; empty for all of them. */
export const wrong = (place: string, problem: string): ConfigurationError =>
  new ConfigurationError(`${place || 'options'}: ${problem}`);

/** The value as its schema gives it; throws a `ConfigurationError` with the first thing that is wrong. */
export function check<S extends z.ZodType>(schema: S, value: unknown, place: string): z.output<S> {
  const { data, error } = schema.safeParse(value);
  const [issue] = error?.issues ?? [];
  if (issue === undefined) return data as z.output<S>;
  throw wrong([place, ...issue.path.map(String)].filter(Boolean).join('.'), issue.message);
}
