/**
 * Text that is safe and fits: names come from models, tools and users, so they must not control the terminal, and a line that
 * is one cell too long would break a drawing. Widths are those on which terminals agree, and rather too large than too small.
 */
import { stripVTControlCharacters } from 'node:util';

/** Longer names are cut before any other processing: no terminal shows more. In UTF-16 code units. */
const MAX_NAME_LENGTH = 512;

/** Texts whose length is their width: ASCII, and the characters that the tree is drawn with. Most texts are such. */
const NARROW = /^[\x20-\x7e\u2500-\u257f✓✗●↻→…]*$/;
const BREAKS = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;

/**
 * Removed from names: invisible characters and those that change the writing direction (so that no name can pass for another),
 * lone surrogates, and what joins or recolours emoji, since terminals disagree on the width of the result, but not on that of
 * its parts.
 */
const UNSHOWN = /[\p{Cf}\p{Cs}\p{Variation_Selector}\p{Emoji_Modifier}]/gu;

const MARK = /^[\p{Mn}\p{Me}]$/u;
const WIDE =
  /^[\p{Emoji_Presentation}\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f2ff}\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1faff}\u{20000}-\u{3fffd}]$/u;

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** The name as one line of printable text: escape sequences are removed; line breaks and other controls become spaces. */
export function cleanText(text: string): string {
  const head = text.slice(0, MAX_NAME_LENGTH);
  if (NARROW.test(head)) return head.trim();
  return stripVTControlCharacters(head).replace(BREAKS, ' ').replace(UNSHOWN, '').trim();
}

/** The width of one grapheme in cells. A flag is two letters that share two cells; combining marks take none. */
function graphemeWidth(grapheme: string): number {
  let width = 0;
  for (const character of grapheme) {
    if (WIDE.test(character)) width += 2;
    else if (!MARK.test(character)) width += 1;
  }
  return /^\p{RI}/u.test(grapheme) ? 2 : width;
}

/** The width of `text` in terminal cells. `text` must be clean. */
export function textWidth(text: string): number {
  if (NARROW.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment);
  return width;
}

/** `text` within `width` cells: whole, or cut between graphemes and ended with `ellipsis`, which is one cell wide. */
export function fitText(text: string, width: number, ellipsis: string): string {
  if (width <= 0) return '';
  if (textWidth(text) <= width) return text;
  let cut = '';
  let room = width - 1;
  for (const { segment } of graphemes.segment(text)) {
    room -= graphemeWidth(segment);
    if (room < 0) break;
    cut += segment;
  }
  return cut.trimEnd() + ellipsis;
}
