/**
 * The library's types as seen by a program that emits declarations: every type that an exported one refers to must be
 * exported too, or the compiler can't name it and fails (TS2742, TS2883).
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

/** Type arguments for the generic types; any valid ones will do. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  EventOf: "'tool.call'",
};

/** The names that `src/index.ts` exports as types only. */
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

/** Functions of a program around one of the library's, for its result and its parameters. */
const aroundValue = ([name, value]: [string, unknown]): string =>
  typeof value === 'function'
    ? `export const gives_${name} = (...given: Parameters<typeof library.${name}>) => library.${name}(...given);
       export const takes_${name} = (...given: Parameters<typeof library.${name}>) => [...given] as const;`
    : `export const value_${name} = [library.${name}];`;

/** The same for the members of a type. */
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
    // The package is a link: the compiler would resolve names at its target that a program can't.
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
  // Without the dependencies: they are found in a parent directory, as with npm.
  for (const part of ['package.json', 'dist']) symlinkSync(join(ROOT, part), join(installed, part));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(CONFIG));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Returns the compiler's output. */
const compile = (program: string): Promise<string> => {
  writeFileSync(join(directory, 'program.ts'), program);
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  return new Promise((settle) => {
    execFile(process.execPath, [compiler, '-p', directory], (_error, stdout) => settle(stdout));
  });
};

test('every type that an exported type refers to is exported', { timeout: 60_000 }, async () => {
  expect(exportedTypes()).toContain('BridgeOptions');
  expect(await compile(PROGRAM)).toBe('');
});
