/**
 * The program without arguments: follows the gateway on this machine. If there is none, it demonstrates itself: it plays a
 * bundled recording of a real agent request with sub-agents, at its own pace, in the terminal.
 */
import { connect } from 'node:net';
import { basename, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../model/logger.js';
import { SourceError } from '../model/source.js';
import { parseSourceName } from '../source/index.js';
import { openDestinations } from '../start/destinations.js';
import { gatewayUrl } from '../start/gateway.js';
import type { Settings } from '../start/settings.js';
import { EXIT } from '../summary.js';
import { shellWord } from '../util/shell.js';
import type { OnInterrupt } from './interrupt.js';
import { failed, misused, type Outcome } from './outcome.js';
import { play } from './replay.js';
import { run } from './run.js';

const PROBE_TIMEOUT_MS = 500;
const DEMO_RECORDING = fileURLToPath(new URL('../../examples/sub-agents.ndjson', import.meta.url));

const DEFAULT_PORTS: Record<string, number> = { 'ws:': 80, 'wss:': 443 };

function listens(url: string): Promise<boolean> {
  const { protocol, hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port) || (DEFAULT_PORTS[protocol] ?? 0), hostname.replace(/^\[|\]$/g, ''));
    const answer = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => answer(false));
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

/** A path as a word of a command that is typed in this directory. */
function fromHere(path: string): string {
  const from_here = relative(process.cwd(), path);
  return shellWord(from_here.startsWith('..') ? path : from_here);
}

/** How this program was started, since not every way has its name in the shell's path. */
function programName(): string {
  const { npm_lifecycle_event } = process.env;
  if (npm_lifecycle_event === 'start') return 'npm start --';
  if (npm_lifecycle_event === 'npx') return 'npx openclaw-otel-bridge';
  const [, script = ''] = process.argv;
  return basename(script) === 'main.js' ? `node ${fromHere(script)}` : 'openclaw-otel-bridge';
}

/** The next command to try, as it must be typed here. */
const nextStep = (): string => `
This was a recording, not your agents. To send the same recording to ClawMetry:

  ${programName()} replay --rebase-time --to clawmetry ${fromHere(DEMO_RECORDING)}
`;

export async function demo(settings: Settings, logger: Logger, onInterrupt: OnInterrupt): Promise<Outcome> {
  const named = parseSourceName(gatewayUrl(settings, process.env));
  // `run` reports a name that can't be parsed, with advice.
  if ('error' in named || named.kind !== 'gateway' || (await listens(named.url)))
    return run(settings, logger, onInterrupt, '--from');
  process.stdout.write(
    `No OpenClaw gateway answers at ${named.name}; playing a recording of a real one instead.\n\n`,
  );
  const shown: Settings = { ...settings, to: ['console'], records: [], speed: 1, rebase_time: true };
  const opened = await openDestinations(shown, logger);
  if ('error' in opened) return misused(opened.error);
  try {
    await play([DEMO_RECORDING], shown, logger, opened, onInterrupt);
  } catch (error) {
    if (error instanceof SourceError)
      return failed(`${error.message}; it is part of this package, so reinstall it`);
    throw error;
  }
  process.stdout.write(nextStep());
  return { status: EXIT.ok };
}
