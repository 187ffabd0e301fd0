#!/usr/bin/env node
/**
 * The program's entry: the only place that reads the arguments, hears signals and exits the process. The first signal stops
 * reading and drains; the second one ends the process at once.
 */
import { runCli } from './cli.js';
import { EXIT } from './summary.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

function onInterrupt(stop: () => void): void {
  let isStopping = false;
  const hear = (): void => {
    if (isStopping) process.exit(EXIT.incomplete);
    isStopping = true;
    stop();
  };
  for (const signal of SIGNALS) process.on(signal, hear);
}

/** A reader of our output that goes away (`… | head`) ends the program quietly. */
function onBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.ok);
}

process.stdout.on('error', onBrokenPipe);

const outcome = await runCli(process.argv.slice(2), { onInterrupt });
if (outcome.error !== undefined) process.stderr.write(`openclaw-otel-bridge: ${outcome.error}\n`);
process.exit(outcome.status);
