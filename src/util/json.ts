/**
 * Accessors for JSON of unknown shape: each returns the value if it has the wanted type, and otherwise undefined or an empty
 * value.
 */
export type Json = Record<string, unknown>;

const EMPTY: Json = Object.freeze({});

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The object, or an empty one. */
export const object = (value: unknown): Json => (isObject(value) ? value : EMPTY);

export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** A non-empty text. */
export const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

export const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined;

/** Joins the text of content blocks such as `{type: "text", text}`; returns plain text as it is. */
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

/** A copy of the object without undefined values. */
export function withoutUndefined<T extends object>(value: T): Known<T> {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as Known<T>;
}
