/**
 * A real OpenClaw gateway on a free port, with a home of its own and a scripted model. It can be killed and restarted on
 * the same home, as after a crash.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts, homeFor, killAtHome, removeDirectory } from '../backends.js';
import { EXECUTABLES } from '../installed.js';
import { type Address, type Client, connectClient } from './client.js';
import { marker, type Script } from './model.js';

export interface Gateway extends Address {
  port: number;
  /** Resolves when it accepts clients. */
  start(): Promise<void>;
  /** Kills it and all that it has started, as `kill -9` does. */
  kill(): Promise<void>;
  /** Kills it and deletes its home. */
  remove(): Promise<void>;
}

const START_TIMEOUT_MS = 90_000;
const POLL_INTERVAL_MS = 100;

const MODEL_ID = 'scripted';

/** It contacts nobody but its model, and nothing happens in it that a test did not ask for. */
const configFor = (directory: string, port: number, model_url: string): object => ({
  gateway: {
    mode: 'local',
    port,
    bind: 'loopback',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: OpenClaw puts the variable's value there
    auth: { mode: 'token', token: '${OPENCLAW_GATEWAY_TOKEN}' },
    controlUi: { enabled: false },
  },
  discovery: { mdns: { mode: 'off' } },
  update: { checkOnStart: false },
  telemetry: { enabled: false },
  cron: { enabled: false },
  logging: { file: join(directory, 'openclaw.log') },
  models: {
    mode: 'replace',
    catalogRefresh: { enabled: false },
    providers: {
      script: {
        baseUrl: model_url,
        apiKey: 'none',
        api: 'openai-completions',
        models: [
          {
            id: MODEL_ID,
            name: MODEL_ID,
            reasoning: true,
            input: ['text'],
            contextWindow: 200_000,
            maxTokens: 8_192,
          },
        ],
      },
    },
  },
  agents: {
    defaults: {
      model: { primary: `script/${MODEL_ID}`, fallbacks: [] },
      workspace: join(directory, 'workspace'),
      skipBootstrap: true,
      thinkingDefault: 'low',
      subagents: { maxSpawnDepth: 3 },
      heartbeat: { every: '0m' },
    },
    entries: { main: {} },
  },
  tools: { profile: 'coding', deny: ['web_search', 'web_fetch', 'browser'], exec: { mode: 'full' } },
});

/** Whether it accepts clients before the timeout. */
async function letsIn(address: Address, child: ChildProcess): Promise<boolean> {
  const deadline_ms = Date.now() + START_TIMEOUT_MS;
  while (child.exitCode === null && Date.now() < deadline_ms) {
    const client = await connectClient(address).catch(() => undefined);
    client?.close();
    if (client !== undefined) return true;
    await sleep(POLL_INTERVAL_MS);
  }
  return false;
}

export async function createGateway(model_url: string): Promise<Gateway> {
  const directory = await homeFor('openclaw');
  const [port = 0] = await freePorts(1);
  const url = `ws://127.0.0.1:${port}`;
  const token = randomUUID();
  const log_path = join(directory, 'gateway.log');
  const openclaw = join(directory, '.openclaw');
  await mkdir(openclaw);
  await mkdir(join(directory, 'workspace'));
  await writeFile(join(openclaw, 'openclaw.json'), JSON.stringify(configFor(directory, port, model_url)));
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    OPENCLAW_GATEWAY_TOKEN: token,
    OPENCLAW_DISABLE_BONJOUR: '1',
    OPENCLAW_NO_AUTO_UPDATE: '1',
    DO_NOT_TRACK: '1',
  };

  let child: ChildProcess | undefined;

  /** The processes that it starts are not always in its process group. */
  async function kill(): Promise<void> {
    child?.kill('SIGKILL');
    await killAtHome(directory);
  }

  return {
    url,
    token,
    port,
    async start() {
      const started = spawn(EXECUTABLES.openclaw, ['gateway', 'run'], {
        cwd: directory,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      child = started;
      const log = createWriteStream(log_path, { flags: 'a' });
      for (const output of [started.stdout, started.stderr]) output.pipe(log, { end: false });
      if (await letsIn({ url, token }, started)) return;
      await kill();
      throw new Error(`no gateway at ${url}; it said:\n${(await readFile(log_path, 'utf8')).slice(-2_000)}`);
    },
    kill,
    async remove() {
      await kill();
      await removeDirectory(directory);
    },
  };
}

/** The scopes of a client that starts and aborts runs. */
export const DRIVER_SCOPES = ['operator.read', 'operator.write', 'operator.admin'];

/** A run that plays a script. */
export interface Started {
  session_key: string;
  run_id: string;
}

/** Sends the agent a message in a new session. */
export async function startRun(driver: Client, script: Script): Promise<Started> {
  const run_id = randomUUID();
  const session_key = `agent:main:${script}-${run_id.slice(0, 8)}`;
  await driver.call('chat.send', {
    sessionKey: session_key,
    message: `Begin. ${marker(script)}`,
    idempotencyKey: run_id,
  });
  return { session_key, run_id };
}
