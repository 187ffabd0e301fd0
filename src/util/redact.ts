/**
 * Removes secrets from what the other side of a connection says: it may repeat what it was sent, with the escapes of its own
 * format, and the text may have been cut.
 */

/** At the end of a text, a prefix of a secret is recognised from this length on: shorter ones would match everywhere. */
const SHORTEST_BEGINNING = 6;

/** Secrets whose forms are cached: more than any start has, but tokens may be renewed without limit. */
const MAX_KEPT = 256;

type Escape = (text: string) => string;

const json: Escape = (text) => JSON.stringify(text).slice(1, -1);

/** JSON as encoders write it that keep to ASCII, or that escape HTML's special characters. */
const asciiJson =
  (signs: RegExp): Escape =>
  (text) =>
    json(text).replaceAll(signs, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Replaces each matching character with its HTML entity, by name or else by number. */
const html =
  (signs: RegExp, nameOf: (code: number, sign: string) => string): Escape =>
  (text) =>
    text.replaceAll(signs, (sign) => `&${nameOf(sign.charCodeAt(0), sign)};`);

const NAMES: Readonly<Record<string, string>> = { '"': 'quot', '&': 'amp', '<': 'lt', '>': 'gt' };

const decimal = (code: number, sign: string): string => NAMES[sign] ?? `#${code}`;
const hexadecimal = (code: number, sign: string): string => NAMES[sign] ?? `#x${code.toString(16)}`;

/** From the fewest escaped characters to the most. */
const HTML_SIGNS = [/["&<>]/g, /["&'<>]/g, /["&'+<>]/g, /["&'/<>]/g, /["&'/<=>`]/g, /[^\w .-]/g];

const percent: Escape = (text) => encodeURIComponent(text.toWellFormed());

const ESCAPES: readonly Escape[] = [
  json,
  (text) => json(text).replaceAll('/', '\\/'),
  asciiJson(/[^ -~]/g),
  asciiJson(/[^ -~]|[&<>]/g),
  asciiJson(/[^ -~]|["&'<>]/g),
  // JSON quoted within JSON.
  (text) => json(json(text)),
  percent,
  (text) => encodeURI(text.toWellFormed()),
  (text) => percent(text).replaceAll(/[!'()*~]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`),
  (text) => new URLSearchParams({ '': text }).toString().slice(1),
  ...HTML_SIGNS.flatMap((signs) => [html(signs, decimal), html(signs, hexadecimal)]),
  html(/["&'<>]/g, (_code, sign) => (sign === "'" ? 'apos' : (NAMES[sign] ?? ''))),
  html(/["&'/<>]/g, (code, sign) => (sign === '"' ? '#34' : decimal(code, sign))),
  html(/["&'+<>]/g, (code, sign) => (sign === '"' ? '#34' : decimal(code, sign))),
];

/** Hexadecimal escapes may have letters of either case. */
const upper = (form: string): string =>
  form.replaceAll(/%[\da-f]{2}|\\u[\da-f]{4}|&#x[\da-f]+;/gi, (escaped) =>
    escaped.replaceAll(/[a-f]/g, (digit) => digit.toUpperCase()),
  );

const lower = (form: string): string => form.replaceAll(/%[\dA-F]{2}/g, (escaped) => escaped.toLowerCase());

/** A secret as it is, and in every form in which a response may repeat it. */
function formsOf(secret: string): string[] {
  const escaped = ESCAPES.map((toForm) => toForm(secret)).flatMap((form) => [form, upper(form), lower(form)]);
  return [...new Set([secret, ...escaped])];
}

const kept = new Map<string, string[]>();

function keptFormsOf(secret: string): string[] {
  const known = kept.get(secret);
  if (known !== undefined) return known;
  if (kept.size >= MAX_KEPT) kept.clear();
  const forms = formsOf(secret);
  kept.set(secret, forms);
  return forms;
}

/** The scheme before a credential is not secret. */
export const isScheme = (text: string): boolean => /^(bearer|basic)$/i.test(text);

/**
 * The index at which a secret, or a prefix of it (if the text was cut), begins at the end of the text; the text's length if
 * there is none.
 */
function tailStart(text: string, secret: string): number {
  for (let length = Math.min(secret.length, text.length); length >= SHORTEST_BEGINNING; length--) {
    const beginning = secret.slice(0, length);
    if (!isScheme(beginning) && text.endsWith(beginning)) return text.length - length;
  }
  return text.length;
}

/** Replaces each secret with `mark`. The text may have been cut before, but only at its end. */
export function redact(text: string, secrets: readonly string[], mark: string): string {
  // Longest first, since a form may contain another.
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap(keptFormsOf)
    .sort((a, b) => b.length - a.length);
  const end = Math.min(text.length, ...forms.map((form) => tailStart(text, form)));
  const whole = forms.reduce((left, form) => left.replaceAll(form, () => mark), text.slice(0, end));
  return end < text.length ? whole + mark : whole;
}
