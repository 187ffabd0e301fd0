/**
 * A cheap look at what may be an event: it passes only what the catalog takes as it stands, so that the schema itself is asked
 * about the rest alone, and for what is wrong with it. It is made of the schema, and says nothing that the schema does not.
 */
import { isObject } from '../util/json.js';
import { type AgentEvent, eventJsonSchema } from './event.js';

type Check = (value: unknown) => boolean;

/** The part of JSON Schema that the catalog is made of. */
interface Schema {
  type?: 'string' | 'number' | 'integer' | 'boolean' | 'object';
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  minLength?: number;
  minimum?: number;
  maximum?: number;
  /** A text in this form is looked at by the schema itself. */
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
}

const isNever: Check = () => false;

/** How a value of each type is looked at. */
const COMPILERS: Readonly<Record<NonNullable<Schema['type']>, (schema: Schema) => Check>> = {
  // Of a form that a text must have, only the schema itself knows.
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

/** A field that is not in the catalog is passed over by the schema, which leaves it out. */
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

/** True only where the catalog takes the value, leaves nothing out of it, and its instants are numbers already. */
export function isPlainEvent(value: Record<string, unknown>): value is AgentEvent {
  checks ??= compileEvents();
  return checks.get(value.type)?.(value) === true;
}
