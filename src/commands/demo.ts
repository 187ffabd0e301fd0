/**
 * What the program does without arguments: it shows itself. It looks for a gateway and plays a bundled recording of a real
 * agent request with sub-agents, at its own pace, into the terminal.
 */
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { Settings } from '../settings.js';
import { EXIT } from '../summary.js';
import type { OnInterrupt } from './bridge-options.js';
import { openDestinations } from './destinations.js';
import { misused, type Outcome } from './outcome.js';
import { play } from './replay.js';

const GATEWAY = { host: '127.0.0.1', port: 18789 };
const PROBE_TIMEOUT_MS = 500;
const DEMO_RECORDING = fileURLToPath(new URL('../../examples/sub-agents.ndjson', import.meta.url));

function listens({ host, port }: typeof GATEWAY): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const answer = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => answer(false));
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

const NEXT = `
This was a recording, not your agents. The same recording into ClawMetry:

  npm start -- replay --rebase-time --to clawmetry examples/sub-agents.ndjson
`;

export async function demo(settings: Settings, logger: Logger, onInterrupt: OnInterrupt): Promise<Outcome> {
  const address = `ws://${GATEWAY.host}:${GATEWAY.port}`;
  const found = (await listens(GATEWAY))
    ? `A gateway answers at ${address}, and this version can't follow one yet`
    : `No OpenClaw gateway answers at ${address}`;
  process.stdout.write(`${found}: playing a recording of a real one instead.\n\n`);
  const shown: Settings = { ...settings, to: ['console'], records: [], speed: 1, rebase_time: true };
  const opened = await openDestinations(shown, logger);
  if ('error' in opened) return misused(opened.error);
  await play([DEMO_RECORDING], shown, logger, opened, onInterrupt);
  process.stdout.write(NEXT);
  return { status: EXIT.ok };
}
