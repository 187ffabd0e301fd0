/**
 * Publishes results: on the terminal, and in the benchmark's section of `docs/performance.md`, with their date, machine and
 * versions. The text around the sections stays.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const DOCUMENT = resolve('docs/performance.md');
const GIGABYTE = 1024 ** 3;

export const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** Formats `lines` as a Markdown table; the first line is the head. */
export function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

export const roundsText = (rounds: number): string => (rounds === 1 ? '1 round' : `${rounds} rounds`);

/** The date, the machine and the versions of the results. */
export function provenance(): string {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  const [cpu] = cpus();
  const memory_gb = Math.round(totalmem() / GIGABYTE);
  const machine = `${cpus().length} × ${cpu?.model.trim() ?? 'unknown processor'}, ${memory_gb} GB`;
  const day = new Date().toISOString().slice(0, 10);
  return `*${day}, ${machine}, Node ${process.versions.node}, openclaw-otel-bridge ${version}.*`;
}

/** Replaces the content of the section with this name. Throws if the document has none. */
export function replaceSection(document: string, name: string, section: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/performance.md has no place for "${name}"`);
  return `${document.slice(0, from + begin.length)}\n${section}\n${document.slice(to)}`;
}

/** Prints the results, and writes them to the document unless `--dry` is given. */
export function publish(name: string, results: string): void {
  say(`\n${results}\n`);
  if (options.dry) return;
  const section = `${provenance()}\n\n${results}`;
  writeFileSync(DOCUMENT, replaceSection(readFileSync(DOCUMENT, 'utf8'), name, section));
  say(`written to docs/performance.md`);
}

const { values } = parseArgs({
  options: {
    dry: { type: 'boolean' },
    rounds: { type: 'string' },
    events: { type: 'string' },
    only: { type: 'string' },
    before: { type: 'string' },
    collector: { type: 'boolean' },
  },
});

/**
 * The options of every benchmark: `--dry` writes nothing; others select fewer rounds, fewer events, or some variants only.
 */
export const options = {
  dry: values.dry === true,
  rounds: values.rounds === undefined ? undefined : Number(values.rounds),
  events: values.events === undefined ? undefined : Number(values.events),
  only: values.only?.split(','),
  /** The main file of an earlier build. */
  before: values.before,
  /** Whether everything is sent through a real Collector. */
  collector: values.collector === true,
};
