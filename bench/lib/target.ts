/** The target of a figure and whether it is met. A missed target is reported as such. */

/** The last two cells of a row: the target and the verdict. */
export const judge = (target: string, is_met: boolean): [string, string] => [
  target,
  is_met ? 'met' : '**missed**',
];

export const atMost = (value: number, limit: number, unit: string): [string, string] =>
  judge(`≤ ${limit.toLocaleString('en')}${unit}`, value <= limit);
