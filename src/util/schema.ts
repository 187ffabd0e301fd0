/**
 * Schemas for settings that people write by hand: their errors say what would be right.
 */
import { z } from 'zod';
import { nounFor } from './counted.js';
import { fromHome } from './home.js';

const unknown = (keys: readonly string[]): string =>
  `${nounFor(keys.length, 'unknown key')} ${keys.map((key) => `"${key}"`).join(' and ')}`;

/** An object that rejects unknown keys; the error lists the known ones. */
export const strictSettings = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `${unknown(issue.keys as string[])} (known: ${Object.keys(shape).join(', ')})`
        : undefined,
  });

/** A setting that is on or off. */
export const flag = z.boolean('must be true or false');

/** A path; `~/` at its beginning is the home directory. */
export const path = z.string().min(1).transform(fromHome);
