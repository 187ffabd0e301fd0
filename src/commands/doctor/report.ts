/**
 * The report for reading: per check a sign, its name, the finding, and the advice below it.
 */
import picocolors from 'picocolors';
import { cleanText } from '../../terminal/text.js';
import { counted } from '../../util/counted.js';
import type { Check, Level } from './check.js';

export interface ReportOptions {
  color: boolean;
  unicode: boolean;
}

const UNICODE_SIGNS: Readonly<Record<Level, string>> = { ok: '✓', warning: '!', problem: '✗' };
const ASCII_SIGNS: Readonly<Record<Level, string>> = { ok: '+', warning: '!', problem: 'x' };

export function renderReport(checks: readonly Check[], { color, unicode }: ReportOptions): string {
  const { green, yellow, red, dim } = picocolors.createColors(color);
  const paint = { ok: green, warning: yellow, problem: red };
  const signs = unicode ? UNICODE_SIGNS : ASCII_SIGNS;
  const arrow = unicode ? '→' : '->';
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.flatMap(({ check, level, found, advice }) => [
    `${paint[level](signs[level])} ${check.padEnd(width)}  ${cleanText(found)}`,
    ...(advice === undefined ? [] : [`${' '.repeat(width + 4)}${dim(arrow)} ${cleanText(advice)}`]),
  ]);
  const number = (wanted: Level): number => checks.filter(({ level }) => level === wanted).length;
  const sum = `${counted(number('problem'), 'problem')}, ${counted(number('warning'), 'warning')}`;
  return `${[...lines, '', sum].join('\n')}\n`;
}
