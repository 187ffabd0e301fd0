/**
 * The types of the library as a program sees them that writes declarations of its own: each type that an exported one is
 * made of has to be exported too, or the compiler finds no name for it (TS2742, TS2883) and refuses to go on.
 */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as library from '../../src/index.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** What takes a type takes any here. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  EventOf: "'tool.call'",
};

/** The names that `src/index.ts` exports as types alone. */
function exportedTypes(): string[] {
  const index = readFileSync(join(ROOT, 'src/index.ts'), 'utf8');
  return [...index.matchAll(/^export (type )?\{([^}]*)\}/gm)].flatMap(([, all = '', names = '']) =>
    [...names.matchAll(/(type )?(\w+)/g)].flatMap(([, one = all, name = '']) => (one === '' ? [] : name)),
  );
}

const isClass = (value: unknown): boolean => /^class /.test(String(value));
const [classes, values] = [true, false].map((wanted) =>
  Object.entries(library).filter(([, value]) => isClass(value) === wanted),
) as [[string, unknown][], [string, unknown][]];

/** A program's function around one of the library's: what it takes, and what it gives. */
const aroundValue = ([name, value]: [string, unknown]): string =>
  typeof value === 'function'
    ? `export const gives_${name} = (...given: Parameters<typeof library.${name}>) => library.${name}(...given);
       export const takes_${name} = (...given: Parameters<typeof library.${name}>) => [...given] as const;`
    : `export const value_${name} = [library.${name}];`;

/** The same around what a type has in it. */
function aroundType(name: string): string {
  const type = ARGUMENTS[name] === undefined ? name : `${name}<${ARGUMENTS[name]}>`;
  return `export const members_${name} = (value: library.${type}) => members(value);`;
}

const PROGRAM = [
  "import * as library from 'openclaw-otel-bridge';",
  'declare const members: <T>(value: T) => { [K in keyof T]: T[K] };',
  ...values.map(aroundValue),
  ...[...classes.map(([name]) => name), ...exportedTypes()].map(aroundType),
].join('\n');

const CONFIG = {
  compilerOptions: {
    module: 'nodenext',
    target: 'es2023',
    strict: true,
    exactOptionalPropertyTypes: true,
    declaration: true,
    outDir: 'out',
    // The package is a link: where that leads to, the compiler would find names that a program does not.
    preserveSymlinks: true,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
  },
  include: ['*.ts'],
};

let directory: string;

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/index.d.ts')))
    throw new Error('dist is missing: run "npm run build" first');
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  directory = mkdtempSync(join(ROOT, '.cache/types-'));
  const installed = join(directory, 'node_modules/openclaw-otel-bridge');
  mkdirSync(installed, { recursive: true });
  // Without its dependencies: they are found further up, beside it, as npm has them.
  for (const part of ['package.json', 'dist']) symlinkSync(join(ROOT, part), join(installed, part));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(CONFIG));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Gives what the compiler says. */
const compile = (program: string): Promise<string> => {
  writeFileSync(join(directory, 'program.ts'), program);
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  return new Promise((settle) => {
    execFile(process.execPath, [compiler, '-p', directory], (_error, stdout) => settle(stdout));
  });
};

test('all that exported types are made of is exported', { timeout: 60_000 }, async () => {
  expect(exportedTypes()).toContain('BridgeOptions');
  expect(await compile(PROGRAM)).toBe('');
});
