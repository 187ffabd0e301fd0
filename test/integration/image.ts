/**
 * Builds and runs the Dockerfile without a container engine. Each stage is an overlay over this machine's root file system,
 * which stands in for the base image; the result runs like a container, as process 1 on a read-only root without
 * capabilities. Needs Linux and root.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { vi } from 'vitest';

import { REPOSITORY } from './installed.js';
import { readShipped } from './stack.js';

const execute = promisify(execFile);

export interface Instruction {
  keyword: string;
  rest: string;
}

/** Omits comments, and joins continued lines. */
export const parseDockerfile = (text: string): Instruction[] =>
  text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [keyword = '', ...words] = line.trim().split(/\s+/);
      return { keyword: keyword.toUpperCase(), rest: words.join(' ') };
    });

/** One `FROM` with the instructions that follow it. */
interface Stage {
  name: string;
  /** The directory with the stage's changes to the machine's file system. */
  upper: string;
  instructions: Instruction[];
}

/** The user in the image, which the base image provides. */
export const NODE_UID = 1000;
const BASE_USERS = {
  passwd: `node:x:${NODE_UID}:${NODE_UID}::/home/node:/bin/sh\n`,
  group: `node:x:${NODE_UID}:\n`,
};

const PATH = [dirname(process.execPath), '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join(
  ':',
);

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Shell commands that mount the root file system of a stage, and what every container has besides. */
const mountRoot = (root: string, upper: string): string =>
  [
    'set -e',
    `mkdir -p ${root} ${upper}.work`,
    `mount -t overlay overlay -o lowerdir=/,upperdir=${upper},workdir=${upper}.work ${root}`,
    `mount --rbind /dev ${root}/dev`,
    `mount -t proc proc ${root}/proc`,
  ].join('\n');

export interface Image {
  /** The results of the stages, in their order. */
  stages: Stage[];
  environment: Record<string, string>;
  volume: string;
  user: string;
  entrypoint: string[];
  health_check: string[];
}

/** Copies only what .dockerignore lets through. */
async function copyContext(to: string): Promise<void> {
  const kept = (await readShipped('.dockerignore')).split('\n').filter((line) => line.startsWith('!'));
  for (const line of kept)
    await cp(join(REPOSITORY, line.slice(1)), join(to, line.slice(1)), { recursive: true });
}

function splitStages(instructions: Instruction[], directory: string): Stage[] {
  const stages: Stage[] = [];
  for (const instruction of instructions) {
    if (instruction.keyword === 'FROM') {
      const name = / AS (\S+)$/i.exec(instruction.rest)?.[1] ?? 'final';
      stages.push({ name, upper: join(directory, name), instructions: [] });
    } else stages.at(-1)?.instructions.push(instruction);
  }
  return stages;
}

async function copy(
  rest: string,
  { upper }: Stage,
  stages: Stage[],
  context: string,
  workdir: string,
): Promise<void> {
  const words = rest.split(' ');
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined;
  const source = stages.find(({ name }) => name === from)?.upper ?? context;
  const target = join(upper, workdir, words.pop() ?? '');
  for (const word of words) {
    const is_into = rest.endsWith('/');
    await cp(join(source, word), is_into ? join(target, word.split('/').at(-1) ?? '') : target, {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
}

async function runStep(command: string, { upper }: Stage, directory: string, workdir: string): Promise<void> {
  const root = join(directory, 'building');
  const script = [
    mountRoot(root, upper),
    `exec chroot ${root} sh -c ${quote(`cd ${workdir} && ${command}`)}`,
  ].join('\n');
  await execute('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script], {
    env: { ...process.env, PATH },
    maxBuffer: 64 * 1024 * 1024,
  });
}

const parsePairs = (rest: string): Record<string, string> =>
  Object.fromEntries(
    [...rest.matchAll(/(\S+?)=("[^"]*"|\S*)/g)].map(([, name, value]) => [name, value?.replaceAll('"', '')]),
  );

/** Runs every step of the Dockerfile. Deleting the directory removes the image. */
export async function buildImage(directory: string): Promise<Image> {
  const context = join(directory, 'context');
  await mkdir(context);
  await copyContext(context);
  const stages = splitStages(parseDockerfile(await readShipped('Dockerfile')), directory);
  const image: Image = {
    stages,
    environment: {},
    volume: '',
    user: 'root',
    entrypoint: [],
    health_check: [],
  };
  for (const stage of stages) {
    await addUsers(stage.upper);
    let workdir = '/';
    for (const { keyword, rest } of stage.instructions) {
      if (keyword === 'WORKDIR') {
        workdir = rest;
        await mkdir(join(stage.upper, workdir), { recursive: true });
      } else if (keyword === 'COPY') await copy(rest, stage, stages, context, workdir);
      else if (keyword === 'RUN') await runStep(rest, stage, directory, workdir);
      else if (keyword === 'ENV') Object.assign(image.environment, parsePairs(rest));
      else if (keyword === 'VOLUME') image.volume = rest;
      else if (keyword === 'USER') image.user = rest;
      else if (keyword === 'ENTRYPOINT') image.entrypoint = JSON.parse(rest);
      else if (keyword === 'HEALTHCHECK') image.health_check = JSON.parse(rest.slice(rest.indexOf('[')));
      else if (keyword !== 'LABEL')
        throw new Error(`${keyword} is not supported: add it to test/integration/image.ts`);
    }
  }
  return image;
}

async function addUsers(upper: string): Promise<void> {
  await mkdir(join(upper, 'etc'), { recursive: true });
  for (const [name, line] of Object.entries(BASE_USERS)) {
    const known = (await readFile(`/etc/${name}`, 'utf8'))
      .split('\n')
      .filter((each) => !each.startsWith('node:'));
    await writeFile(join(upper, 'etc', name), `${known.join('\n').trimEnd()}\n${line}`);
  }
}

export interface Container {
  child: ChildProcess;
  /** The process id on this machine; inside it is 1. */
  pid: number;
  /** Runs a command inside, as the same user; resolves with its exit status and output. */
  exec(command: string[]): Promise<{ status: number; output: string }>;
  /** The directory behind the volume. */
  volume: string;
  /** Sends SIGTERM and resolves with the exit status. */
  stop(): Promise<number | null>;
}

const asUser = [
  'setpriv',
  `--reuid=${NODE_UID}`,
  `--regid=${NODE_UID}`,
  '--clear-groups',
  '--inh-caps=-all',
  '--bounding-set=-all',
  '--no-new-privs',
];

/** Runs the image as in the compose file: read-only except for /tmp and the volume. */
export async function runImage(image: Image, directory: string, command: string[]): Promise<Container> {
  const final = image.stages.at(-1)?.upper ?? '';
  const [root, volume] = [join(directory, 'running'), join(directory, 'volume')];
  // A new volume is filled from the image, with owner and mode.
  await execute('cp', ['-a', join(final, image.volume), volume]);
  const environment = Object.entries({ ...image.environment, PATH, HOME: '/home/node' }).map((pair) =>
    pair.join('='),
  );
  const inside = (words: string[]): string[] => [...asUser, 'env', '-i', ...environment, ...words];
  const script = [
    mountRoot(root, final),
    `mount -o remount,ro ${root}`,
    `mount -t tmpfs tmpfs ${root}/tmp`,
    `mount --bind ${volume} ${root}${image.volume}`,
    `exec chroot ${root} ${inside([...image.entrypoint, ...command])
      .map(quote)
      .join(' ')}`,
  ].join('\n');
  const child = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script], {
    stdio: 'inherit',
  });
  const pid = await childOf(child);
  return {
    child,
    pid,
    volume,
    async exec(words) {
      const enter = ['--target', String(pid), '--mount', '--pid', '--root', '--wd', '--', ...inside(words)];
      const ended = await execute('nsenter', enter).then(
        ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
        (error: { code: number; stdout: string; stderr: string }) => error,
      );
      return { status: ended.code, output: `${ended.stdout}${ended.stderr}` };
    },
    async stop() {
      const exit = once(child, 'exit');
      process.kill(pid, 'SIGTERM');
      const [status] = await exit;
      return status;
    },
  };
}

/** `unshare` starts the first process of the new namespace as its child. */
async function childOf({ pid }: ChildProcess): Promise<number> {
  const children = await vi.waitFor(async () => {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    if (text.trim() === '') throw new Error('not yet');
    return text;
  });
  return Number(children.trim().split(' ')[0]);
}
