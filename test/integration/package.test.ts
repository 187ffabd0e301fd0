/**
 * The published package: packed, installed into an empty directory, and used there as a program, as a module and from
 * TypeScript, beside OpenTelemetry packages of other versions than the bridge's own. Needs a registry or npm's cache.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { REPOSITORY } from './installed.js';

/** The oldest supported 2.x, and a package under its newer name. */
const BESIDE = [
  '@opentelemetry/sdk-trace-base@2.0.0',
  '@opentelemetry/sdk-trace@2.12.1',
  '@opentelemetry/sdk-metrics@2.0.0',
  '@opentelemetry/sdk-logs@0.203.0',
  '@types/node@20.19.43',
];

const INSTALL_TIMEOUT_MS = 240_000;

let directory: string;
let tarball: string;

interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

function run(command: string, args: string[], cwd = directory): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      command,
      args,
      { cwd, maxBuffer: 64 * 1024 * 1024 },
      (error: ExecFileException | null, stdout, stderr) =>
        resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

async function runWell(command: string, args: string[], cwd = directory): Promise<string> {
  const { status, stdout, stderr } = await run(command, args, cwd);
  expect(status, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

const bin = (name: string): string => join(REPOSITORY, 'node_modules/.bin', name);

interface Packed {
  filename: string;
  files: { path: string }[];
}
let packed: Packed;

beforeAll(async () => {
  directory = await temporaryDirectory();
  const json = await runWell('npm', ['pack', '--json', '--pack-destination', directory], REPOSITORY);
  // The output of the build precedes the JSON.
  packed = JSON.parse(json.slice(json.indexOf('[\n')))[0];
  tarball = join(directory, packed.filename);
  await writeFile(join(directory, 'package.json'), '{"name":"consumer","private":true,"type":"module"}');
  await runWell('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball, ...BESIDE]);
}, INSTALL_TIMEOUT_MS);
afterAll(() => removeDirectory(directory));

const installed = (path: string): string => join(directory, 'node_modules/openclaw-otel-bridge', path);

describe('the packed files', () => {
  test('are the built program, its data and the documentation, and nothing else', () => {
    const paths = packed.files.map(({ path }) => path);
    const tops = new Set(paths.map((path) => path.split('/', 1)[0]));
    expect([...tops].sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'deploy',
      'dist',
      'docs',
      'examples',
      'otel-collector.yaml',
      'package.json',
      'schema',
    ]);
    for (const path of ['dist/main.js', 'dist/index.js', 'dist/index.d.ts', 'docs/library.md'])
      expect(paths).toContain(path);
    // There are no source maps, since the sources are not packed.
    expect(paths.filter((path) => /\.map$|\.test\./.test(path))).toEqual([]);
  });

  test('pass publint', async () => {
    expect(await runWell(bin('publint'), ['run', tarball, '--strict'])).toContain('All good!');
  }, 60_000);

  test('have types for every resolver', async () => {
    await runWell(bin('attw'), [tarball, '--profile', 'esm-only']);
  }, 60_000);
});

describe('the program', () => {
  const npx = (...args: string[]) => run('npx', ['--no-install', 'openclaw-otel-bridge', ...args]);

  test('prints its version', async () => {
    const { version } = JSON.parse(await readFile(join(REPOSITORY, 'package.json'), 'utf8'));
    expect(await npx('--version')).toMatchObject({ status: 0, stdout: `${version}\n` });
  });

  test('shows a packed example as a tree', async () => {
    const { status, stdout } = await npx('tree', installed('examples/sub-agents.ndjson'));
    expect(status).toBe(0);
    expect(stdout).toContain('Grandchild');
  });

  test('replays a packed example to the terminal', async () => {
    const { status, stdout } = await npx('replay', '--to', 'console', installed('examples/catalog.ndjson'));
    expect(status).toBe(0);
    expect(stdout).toContain('main');
  });
});

const PROGRAM = `
import { BatchLogRecordProcessor, InMemoryLogRecordExporter } from '@opentelemetry/sdk-logs';
import { AggregationTemporality, InMemoryMetricExporter, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor as NewerProcessor, InMemorySpanExporter as NewerExporter } from '@opentelemetry/sdk-trace';
import { BatchSpanProcessor, InMemorySpanExporter } from '@opentelemetry/sdk-trace-base';
import { type BridgeOptions, createBridge, type Summary, type WireEvent } from 'openclaw-otel-bridge';

const exporters = [new InMemorySpanExporter(), new NewerExporter()] as const;
const metrics = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const logs = new InMemoryLogRecordExporter();
const options: BridgeOptions = {
  sources: [{ kind: 'recordings', paths: ['node_modules/openclaw-otel-bridge/examples/catalog.ndjson'] }],
  destinations: [
    { span_processor: new BatchSpanProcessor(exporters[0]) },
    { span_processor: new NewerProcessor({ exporter: exporters[1] }) },
    { log_record_processor: new BatchLogRecordProcessor(logs) },
    { metric_reader: new PeriodicExportingMetricReader({ exporter: metrics }) },
  ],
};
const bridge = createBridge(options);
await bridge.start();
await bridge.ended();
const event: WireEvent = { type: 'agent.started', ts: 1, session_key: 's', run_id: 'r' };
await bridge.push(event);
await bridge.drain(5_000);
const counts = [exporters[0].getFinishedSpans(), exporters[1].getFinishedSpans(), metrics.getMetrics()];
const summary: Summary = await bridge.stop();
console.log(JSON.stringify({ counts: counts.map((each) => each.length), runs: summary.runs }));
`;

/** Runs code beside the installed package. */
const evaluate = (type: 'module' | 'commonjs', code: string): Promise<string> =>
  runWell('node', [`--input-type=${type}`, '-e', code]);

describe('the module', () => {
  test('can be imported', async () => {
    const code = "import * as all from 'openclaw-otel-bridge'; console.log(Object.keys(all).sort().join())";
    expect(await evaluate('module', code)).toContain('createBridge,createCorrelator,');
  });

  test('can be required', async () => {
    const code = "console.log(typeof require('openclaw-otel-bridge').createBridge)";
    expect(await evaluate('commonjs', code)).toBe('function\n');
  });

  test('exports its schema', async () => {
    const from = "'openclaw-otel-bridge/event.schema.json' with { type: 'json' }";
    expect(await evaluate('module', `import schema from ${from}; console.log(schema.title)`)).toContain(
      'catalog version 1',
    );
  });

  test.each([
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('has types for module %s with resolution %s that match its behaviour', async (module, resolution) => {
    await writeFile(join(directory, 'program.ts'), PROGRAM);
    const flags = [
      '--module',
      module,
      '--moduleResolution',
      resolution,
      '--target',
      'es2023',
      '--types',
      'node',
    ];
    const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false'];
    await runWell(bin('tsc'), [...flags, ...strict, '--outDir', '.', 'program.ts']);
    const { counts, runs } = JSON.parse(await runWell('node', ['program.js']));
    expect(runs).toEqual({ opened: 3, ended: 3, open: 0 });
    expect(counts[0]).toBeGreaterThan(5);
    expect(counts[1]).toBe(counts[0]);
    expect(counts[2]).toBeGreaterThan(0);
  });
});
