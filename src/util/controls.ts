/**
 * Makes outside text safe for a readable line: it can neither break the line nor control the terminal.
 */

/** Replaces each control character with U+FFFD. */
export const withoutControls = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\u{fffd}');

/** The control characters that JSON does not escape. */
const UNESCAPED = /[\u007f-\u009f]/g;

/** The value as JSON, also indented, that can be printed: a terminal may obey a control character in a text. */
export const printableJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).replaceAll(
    UNESCAPED,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
