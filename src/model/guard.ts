/**
 * A cheap check for valid events. It passes only what the catalog accepts unchanged, so that the zod schema has to parse only
 * the rest, and to find what is wrong with it. It is compiled from the catalog's JSON Schema and adds no rules of its own.
 */
import { isObject } from '../util/json.js';
import { type AgentEvent, eventJsonSchema } from './event.js';

type Check = (value: unknown) => boolean;

/** The part of JSON Schema that the catalog uses. */
interface Schema {
  type?: 'string' | 'number' | 'integer' | 'boolean' | 'object';
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  minLength?: number;
  minimum?: number;
  maximum?: number;
  /** Strings with a format are left to the zod schema. */
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
}

const isNever: Check = () => false;

/** Compiles the check for a value of each type. */
const COMPILERS: Readonly<Record<NonNullable<Schema['type']>, (schema: Schema) => Check>> = {
  // Only the zod schema can check a format.
  string: ({ format, minLength = 0 }) =>
    format === undefined ? (value) => typeof value === 'string' && value.length >= minLength : isNever,
  number: ({ minimum = -Infinity, maximum = Infinity }) => {
    return (value) => Number.isFinite(value) && Number(value) >= minimum && Number(value) <= maximum;
  },
  integer: ({ minimum = -Infinity, maximum = Infinity }) => {
    return (value) => Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum;
  },
  boolean: () => (value) => typeof value === 'boolean',
  object: compileObject,
};

function compile({ anyOf, enum: values, ...schema }: Schema): Check {
  if (anyOf !== undefined)
    return anyOf.map(compile).reduce((a, b) => (value) => a(value) || b(value), isNever);
  if (values !== undefined) return (value) => values.includes(value);
  if (schema.const !== undefined) return (value) => value === schema.const;
  if (schema.type !== undefined) return COMPILERS[schema.type](schema);
  return (value) => value !== null && value !== undefined;
}

/** An unknown field fails the check, since the zod schema would remove it. */
function compileObject({ properties = {}, required = [] }: Schema): Check {
  const fields = new Map(
    Object.entries(properties).map(([key, schema]) => [
      key,
      { check: compile(schema), is_required: required.includes(key) },
    ]),
  );
  return (value) => {
    if (!isObject(value)) return false;
    let found = 0;
    for (const key in value) {
      const field = fields.get(key);
      if (field === undefined || !field.check(value[key])) return false;
      if (field.is_required) found++;
    }
    return found === required.length;
  };
}

function compileEvents(): ReadonlyMap<unknown, Check> {
  const { oneOf = [] } = eventJsonSchema() as Schema;
  return new Map(oneOf.map((schema) => [schema.properties?.type?.const, compile(schema)]));
}

let checks: ReadonlyMap<unknown, Check> | undefined;

/** True only if the catalog accepts the value and removes nothing from it, and its times are numbers already. */
export function isPlainEvent(value: Record<string, unknown>): value is AgentEvent {
  checks ??= compileEvents();
  return checks.get(value.type)?.(value) === true;
}
