#!/usr/bin/env node
/**
 * The program's entry: the only place that reads the arguments, hears signals and exits the process. The first signal stops
 * reading and drains; the second one ends the process at once.
 */
import { runCli } from './cli.js';
import type { Outcome } from './commands/outcome.js';
import { EXIT } from './summary.js';
import { withoutControls } from './util/controls.js';
import { errorReason } from './util/errors.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** What the command that is running wants done; absent for one that a signal may end at any time. */
let command: { stop: () => void; abandon?: (() => void) | undefined } | undefined;
let is_stopping = false;
let signals = 0;
let output_problem: string | undefined;

function stopCommand(): void {
  if (command === undefined || is_stopping) return;
  is_stopping = true;
  command.stop();
}

function hear(): void {
  if (++signals === 1) return stopCommand();
  command?.abandon?.();
  process.exit(EXIT.incomplete);
}

/** What is told last holds. Where it is to stop already, it is told at once. */
function onInterrupt(stop: () => void, abandon?: () => void): void {
  if (command === undefined) for (const signal of SIGNALS) process.on(signal, hear);
  command = { stop, abandon };
  if (is_stopping) stop();
}

/**
 * Nobody takes our output any more: a reader that went away (`… | head`) is no failure, a full disk is one. A command that
 * drains is stopped as by a signal, so that its other destinations still get what was read; the others have printed all that
 * they print, or see it themselves. Each ends with the status of what it has found by then.
 */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE')
    output_problem ??= `can't write to stdout: ${errorReason(error)}; check where it goes`;
  stopCommand();
}

function end({ status, error = output_problem }: Outcome): never {
  if (error !== undefined) process.stderr.write(`openclaw-otel-bridge: ${withoutControls(error)}\n`);
  process.exit(output_problem === undefined ? status : EXIT.failed);
}

/** A pipe is written to at its reader's pace: exiting before that would cut the output off. */
const flushed = (stream: NodeJS.WritableStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write('', () => resolve());
  });

process.stdout.on('error', onOutputError);

const outcome = await runCli(process.argv.slice(2), { onInterrupt });
// It has nothing left to stop: its last lines may be those that nobody takes.
command = undefined;
await flushed(process.stdout);
end(outcome);
