/**
 * The code in the documents: each TypeScript snippet is compiled as strictly as the package itself and run unchanged
 * against the built package, with a backend at `OTEL_EXPORTER_OTLP_ENDPOINT`.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Sink, startSink } from '../cli/sink.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DOCUMENTS = ['README.md', 'docs/library.md'];

interface Snippet {
  name: string;
  code: string;
}

const snippetsOf = (document: string): Snippet[] =>
  [...readFileSync(join(ROOT, document), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)].map(
    ([, code = ''], index) => ({ name: `${document.replace(/\W/g, '-')}-${index + 1}`, code }),
  );

const snippets = DOCUMENTS.flatMap(snippetsOf);

/** Inside the package, so that its name and its dependencies resolve. */
let directory: string;
let sink: Sink;

/** Returns the compiler's output. */
function compile(): string {
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { noEmit: false, rootDir: '.', outDir: 'out', paths: {} },
    include: ['*.ts'],
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config));
  for (const { name, code } of snippets) writeFileSync(join(directory, `${name}.ts`), code);
  try {
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
    return execFileSync(process.execPath, [compiler, '-p', directory], { encoding: 'utf8' });
  } catch (error) {
    return String((error as { stdout: unknown }).stdout);
  }
}

const run = (script: string) =>
  promisify(execFile)(process.execPath, [script], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      OTEL_EXPORTER_OTLP_ENDPOINT: sink.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    },
  });

beforeAll(async () => {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('dist is missing: run "npm run build" first');
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  directory = mkdtempSync(join(ROOT, '.cache/snippets-'));
  sink = await startSink();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the TypeScript in the documents', () => {
  test('exists in each document, and compiles', { timeout: 120_000 }, () => {
    for (const document of DOCUMENTS) expect(snippetsOf(document).length, document).toBeGreaterThan(1);
    expect(compile()).toBe('');
  });

  test.each(snippets.map(({ name }) => name))('%s runs', { timeout: 60_000 }, async (name) => {
    const { stderr } = await run(join(directory, 'out', `${name}.js`));
    expect(stderr).toBe('');
  });

  test('does what its first comments say', { timeout: 60_000 }, async () => {
    const before = sink.spans().length;
    const { stdout } = await run(join(directory, 'out/README-md-1.js'));
    expect(stdout).toBe('{ produced: 9, delivered: 9, pending: 0, rejected: {}, dropped: {} }\n');
    expect(snippets[0]?.code).toContain(stdout.trim());
    expect(sink.spans().length - before).toBe(9);
  });
});

describe('the example', () => {
  test("prints spans, metrics and log records, with the agent in the program's trace", {
    timeout: 60_000,
  }, async () => {
    const { stdout, stderr } = await run(join(ROOT, 'examples/library/opentelemetry.mjs'));
    expect(stderr).toBe('');
    const lines = stdout.trimEnd().split('\n');
    const spans = lines.flatMap((line) => {
      const [, trace_id, parent, span_id, name] = /^span (\w+) (\S+) (\w+) (.*)$/.exec(line) ?? [];
      return span_id === undefined ? [] : [{ trace_id, parent, span_id, name }];
    });
    expect(spans).toHaveLength(11);
    const request = spans.find(({ name }) => name === 'POST /ask');
    const agent = spans.find(({ name }) => name === 'invoke_agent shop');
    const tool = spans.find(({ name }) => name === 'execute_tool search');
    expect(request?.parent).toBe('-');
    expect(agent).toMatchObject({ trace_id: request?.trace_id, parent: request?.span_id });
    expect(tool).toMatchObject({ trace_id: request?.trace_id, parent: agent?.span_id });
    expect(lines.filter((line) => line.startsWith('log ')).length).toBeGreaterThan(20);
    expect(stdout).toMatch(/^metric gen_ai\.client\.inference\.usage\.reasoning\.output_tokens /m);
    expect(JSON.parse(lines.at(-1) ?? '').destinations.shop.traces).toMatchObject({
      produced: 10,
      delivered: 10,
    });
  });
});
