/**
 * Text that came in from somewhere, on its way into a line for people: it neither breaks the line nor steers the terminal.
 */

/** The text with a mark where a control character was. */
export const withoutControls = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\u{fffd}');
