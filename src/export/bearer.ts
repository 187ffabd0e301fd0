/**
 * The bearer token for a backend, from the environment or a file: never from the configuration itself, which people copy and
 * commit. A file is read again when it has changed and when its token is refused, so that a token can be renewed while the
 * bridge runs. No message contains a token.
 */
import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { errorReason } from '../util/errors.js';
import { path } from '../util/schema.js';
import type { Variables } from '../util/variables.js';
import type { ConfigurationProblem } from './parse.js';

const FORMS = 'must be {env: NAME} or {file: PATH}; the token itself does not belong here';

/** The token's source, as in the configuration file. */
export const bearerSchema = z
  .strictObject(
    {
      env: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be the name of an environment variable')
        .optional(),
      file: path.optional(),
    },
    FORMS,
  )
  .refine(({ env, file }) => (env === undefined) !== (file === undefined), FORMS);

export type BearerSource = z.infer<typeof bearerSchema>;

/** A backend's token. */
export interface Bearer {
  /** Where the token comes from, for messages. */
  readonly place: string;
  /** The current token. */
  readonly token: string;
  /** The latest tokens, any of which a response may repeat. */
  readonly secrets: readonly string[];
  /** Reads the file again if it has changed; `anew`: even if it seems unchanged. Never rejects. */
  refresh(anew?: boolean): Promise<void>;
}

/** A longer file does not contain just a token. */
const MAX_TOKEN_BYTES = 64 * 1024;
const MAX_SECRETS = 4;

/** The token in a text, or what is wrong with it. */
function parseToken(text: string): { token: string } | { problem: string } {
  const token = text.trim();
  if (token === '') return { problem: 'is empty; put the token there' };
  if (token.length > MAX_TOKEN_BYTES || /\s/.test(token))
    return { problem: 'contains more than a token; put only the token there, without "Bearer"' };
  try {
    validateHeaderValue('authorization', token);
  } catch {
    return { problem: 'contains characters that HTTP does not allow in a header; correct the token' };
  }
  return { token };
}

/** Opens a source that has passed the schema. */
export const openBearer = (
  { env: name = '', file }: BearerSource,
  env: Variables,
): Bearer | ConfigurationProblem => (file === undefined ? fromEnvironment(name, env) : fromFile(file));

function fromEnvironment(name: string, env: Variables): Bearer | ConfigurationProblem {
  const value = env[name];
  if (value === undefined)
    return { error: `bearer: the environment variable ${name} is not set; set it to the token` };
  const parsed = parseToken(value);
  if ('problem' in parsed) return { error: `bearer: the environment variable ${name} ${parsed.problem}` };
  const { token } = parsed;
  return { place: `the environment variable ${name}`, token, secrets: [token], refresh: async () => {} };
}

function fromFile(path: string): Bearer | ConfigurationProblem {
  try {
    const parsed = parseToken(readFileSync(path, 'utf8'));
    return 'problem' in parsed
      ? { error: `bearer: the file ${path} ${parsed.problem}` }
      : createTokenFile(path, parsed.token);
  } catch (error) {
    return {
      error: `bearer: can't read the file ${path}: ${errorReason(error)}; check its path and permissions`,
    };
  }
}

function createTokenFile(path: string, first: string): Bearer {
  let tokens = [first];
  /** Inode, size and modification time when the file was last read; empty at first, since it may have changed since the start. */
  let last_look = '';
  return {
    place: `the file ${path}`,
    get token() {
      return tokens[0] ?? first;
    },
    get secrets() {
      return tokens;
    },
    async refresh(anew = false) {
      try {
        const { ino, size, mtimeMs } = await stat(path);
        const look = `${ino} ${size} ${mtimeMs}`;
        if ((!anew && look === last_look) || size > MAX_TOKEN_BYTES) return;
        const parsed = parseToken(await readFile(path, 'utf8'));
        last_look = look;
        if ('token' in parsed && parsed.token !== tokens[0])
          tokens = [parsed.token, ...tokens].slice(0, MAX_SECRETS);
      } catch {
        // While a file is replaced there may be none; the last token stays in use.
      }
    },
  };
}
