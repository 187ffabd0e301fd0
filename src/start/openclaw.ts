/**
 * Reads OpenClaw's own files on this machine: where its state is, and the secret of its gateway. Nothing is written. The file
 * is read again each time, since it may be corrected while the bridge waits.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import JSON5 from 'json5';
import { errorReason } from '../util/errors.js';
import { isObject, type Json, object, text } from '../util/json.js';
import type { Variables } from '../util/variables.js';

/** OpenClaw's state directory: `OPENCLAW_STATE_DIR`, else `~/.openclaw`. */
export const openclawDirectory = (env: Variables): string =>
  env.OPENCLAW_STATE_DIR || join(homedir(), '.openclaw');

/** `OPENCLAW_CONFIG_PATH`, else `openclaw.json` in the state directory. */
export const openclawConfigPath = (env: Variables): string =>
  env.OPENCLAW_CONFIG_PATH || join(openclawDirectory(env), 'openclaw.json');

export interface GatewaySecrets {
  token?: string;
  password?: string;
  /** Why a secret that is present can't be used, and what to do; never contains a secret. */
  problem?: string;
}

type Secret = { value: string } | { problem: string } | undefined;

/** `${NAME}` is replaced by a variable; `$${NAME}` is an escaped `${NAME}`. */
const VARIABLE = /(\$?)\$\{([A-Z_][A-Z0-9_]*)\}/g;

/** A secret as OpenClaw writes it: a text with variables in it, or a reference to a variable or to a secret store. */
function readSecret(value: unknown, place: string, env: Variables): Secret {
  if (isObject(value)) return readReference(value, place, env);
  const written = text(value);
  if (written === undefined) return undefined;
  for (const [, dollar, name = ''] of written.matchAll(VARIABLE)) {
    if (dollar === '' && !env[name]) return missingVariable(place, name);
  }
  return {
    value: written.replaceAll(VARIABLE, (all, dollar, name) => (dollar ? all.slice(1) : (env[name] ?? ''))),
  };
}

function readReference({ source, id }: Json, place: string, env: Variables): Secret {
  const name = text(id);
  if (source !== 'env' || name === undefined) {
    const advice = 'set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD to its value';
    return { problem: `${place} is a SecretRef, which the bridge can't resolve; ${advice}` };
  }
  const value = env[name];
  return value ? { value } : missingVariable(place, name);
}

const missingVariable = (place: string, name: string): Secret => ({
  problem: `${place} refers to the environment variable ${name}, which is not set; set it`,
});

/** The gateway's secrets in `openclaw.json`; empty if there is no such file. */
export function readGatewaySecrets(env: Variables): GatewaySecrets {
  const path = openclawConfigPath(env);
  let auth: unknown;
  try {
    auth = object(object(JSON5.parse(readFileSync(path, 'utf8'))).gateway).auth;
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    // The parser's message may quote a piece of the file.
    const reason = error instanceof SyntaxError ? 'not valid JSON5' : errorReason(error);
    return isMissing
      ? {}
      : {
          problem: `can't read ${path}: ${reason}; fix the file, or set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD`,
        };
  }
  const token = readSecret(object(auth).token, `gateway.auth.token in ${path}`, env);
  const password = readSecret(object(auth).password, `gateway.auth.password in ${path}`, env);
  const problem = [token, password].find((secret) => secret !== undefined && 'problem' in secret);
  return {
    ...(token && 'value' in token ? { token: token.value } : {}),
    ...(password && 'value' in password ? { password: password.value } : {}),
    ...(problem && 'problem' in problem ? { problem: problem.problem } : {}),
  };
}
