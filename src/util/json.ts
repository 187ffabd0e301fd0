/**
 * Careful looks into JSON of unknown shape: each gives the value where it has the wanted type, and undefined elsewhere.
 */
export type Json = Record<string, unknown>;

const EMPTY: Json = Object.freeze({});

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The object, or an empty one. */
export const object = (value: unknown): Json => (isObject(value) ? value : EMPTY);

export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** A text that is not empty. */
export const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

export const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined;

/** Joins the text of content blocks such as `{type: "text", text}`, or gives a plain text as it is. */
export function blockText(content: unknown, type: 'text' | 'thinking' = 'text'): string | undefined {
  if (typeof content === 'string') return type === 'text' ? text(content) : undefined;
  const parts = list(content)
    .map(object)
    .filter((block) => block.type === type)
    .map((block) => block[type])
    .filter((part) => typeof part === 'string');
  return text(parts.join('\n'));
}

type Known<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** An object without what is undefined in it. */
export function withoutUndefined<T extends object>(value: T): Known<T> {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as Known<T>;
}
