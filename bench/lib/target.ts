/** What a figure has to be, and whether it is. A target that is missed is said to be missed. */

/** The two last cells of a row: the target in words, and the verdict. */
export const judge = (target: string, is_met: boolean): [string, string] => [
  target,
  is_met ? 'met' : '**missed**',
];

export const atMost = (value: number, limit: number, unit: string): [string, string] =>
  judge(`≤ ${limit.toLocaleString('en')}${unit}`, value <= limit);
