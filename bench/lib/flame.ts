/**
 * Draws a flame graph as SVG: below each function the functions that it called, with widths in proportion to their time.
 */
import { type Call, type Frame, fileOf } from './profile.js';

const WIDTH = 1_200;
const ROW = 17;
const HEAD = 24;
/** Narrower boxes can't be seen. */
const MIN_WIDTH = 1.5;
/** A text in fewer pixels would be unreadable. */
const MIN_TEXT_WIDTH = 36;
const CHARACTER_WIDTH = 6.6;

const nameOf = ({ functionName, url }: Frame): string =>
  url === ''
    ? functionName
    : `${functionName || '(anonymous)'} ${fileOf({ functionName, url, lineNumber: 0 })}`;

/** Merges the calls of the same function, recursively. */
export function merge(calls: readonly Call[]): Call[] {
  const byName = new Map<string, Call[]>();
  for (const call of calls) {
    const name = nameOf(call.frame);
    byName.set(name, [...(byName.get(name) ?? []), call]);
  }
  return [...byName.values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined) return [];
    const sum = (of: (call: Call) => number): number => same.reduce((total, call) => total + of(call), 0);
    return {
      frame: first.frame,
      self_us: sum((call) => call.self_us),
      total_us: sum((call) => call.total_us),
      calls: merge(same.flatMap((call) => call.calls)).sort((a, b) => b.total_us - a.total_us),
    };
  });
}

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** A warm colour that is the same for all functions of a file. */
function colourOf(frame: Frame): string {
  let hash = 0;
  for (const character of fileOf(frame)) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 997;
  return `hsl(${10 + (hash % 45)} 85% ${62 + (hash % 4) * 5}%)`;
}

function drawn(call: Call, left: number, depth: number, scale: number): string[] {
  const width = call.total_us * scale;
  if (width < MIN_WIDTH) return [];
  const top = HEAD + depth * ROW;
  const title = `${escapeXml(nameOf(call.frame))}: ${call.total_us.toFixed(2)} µs an event`;
  const shown = escapeXml(nameOf(call.frame).slice(0, Math.floor(width / CHARACTER_WIDTH)));
  const text =
    width < MIN_TEXT_WIDTH ? '' : `<text x="${(left + 3).toFixed(1)}" y="${top + 12}">${shown}</text>`;
  const place = `x="${left.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="${ROW - 1}"`;
  const parts = [`<g><title>${title}</title><rect ${place} fill="${colourOf(call.frame)}"/>${text}</g>`];
  let at = left;
  for (const each of call.calls) {
    parts.push(...drawn(each, at, depth + 1, scale));
    at += each.total_us * scale;
  }
  return parts;
}

const depthOf = (call: Call, scale: number): number =>
  call.total_us * scale < MIN_WIDTH ? 0 : 1 + Math.max(0, ...call.calls.map((each) => depthOf(each, scale)));

/** `full_us`: the time that the full width stands for, so that pictures can be compared. */
export function drawFlame(title: string, calls: Call[], full_us: number): string {
  const scale = WIDTH / full_us;
  const height = HEAD + ROW * Math.max(1, ...calls.map((call) => depthOf(call, scale)));
  let left = 0;
  const parts = calls.flatMap((call) => {
    const at = left;
    left += call.total_us * scale;
    return drawn(call, at, 0, scale);
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/><text x="3" y="15" font-size="13">${escapeXml(title)}</text>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}
