/**
 * Where results go: to the terminal, and into the section of `docs/performance.md` that belongs to the benchmark, with the day,
 * the machine and the versions that they are of. What people wrote around the sections stays.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

const DOCUMENT = resolve('docs/performance.md');
const GIGABYTE = 1024 ** 3;

export const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** `lines` as a Markdown table; the first is the head. */
export function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

export const roundsText = (rounds: number): string => (rounds === 1 ? '1 round' : `${rounds} rounds`);

/** On what machine and with what versions. */
export function provenance(): string {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  const [cpu] = cpus();
  const memory_gb = Math.round(totalmem() / GIGABYTE);
  const machine = `${cpus().length} × ${cpu?.model.trim() ?? 'unknown processor'}, ${memory_gb} GB`;
  const day = new Date().toISOString().slice(0, 10);
  return `*${day}, ${machine}, Node ${process.versions.node}, openclaw-otel-bridge ${version}.*`;
}

/** Puts a section in the place of the one of this name. Throws where the document has none. */
export function replaceSection(document: string, name: string, section: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/performance.md has no place for "${name}"`);
  return `${document.slice(0, from + begin.length)}\n${section}\n${document.slice(to)}`;
}

/** Prints the results, and writes them down unless `--dry` is given. */
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

/** What every benchmark can be told: `--dry` writes nothing down; fewer rounds, fewer events, some variants only. */
export const options = {
  dry: values.dry === true,
  rounds: values.rounds === undefined ? undefined : Number(values.rounds),
  events: values.events === undefined ? undefined : Number(values.events),
  only: values.only?.split(','),
  /** The main file of an earlier build. */
  before: values.before,
  /** What is sent goes through a real Collector. */
  collector: values.collector === true,
};
