/**
 * Makes outside text safe for a readable line: it can neither break the line nor control the terminal.
 */

/** Replaces each control character with U+FFFD. */
export const withoutControls = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\u{fffd}');
