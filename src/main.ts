#!/usr/bin/env node
/**
 * The program's entry point: the only place that reads the arguments, handles signals and exits the process. The first signal
 * stops reading and drains, as does the end of the terminal; the second one ends the process at once.
 */
import { type CliOutcome, runCli } from './cli.js';
import { EXIT } from './summary.js';
import { withoutControls } from './util/controls.js';
import { errorReason } from './util/errors.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** The handlers of the running command; absent for a command that a signal may end at any time. */
let command: { stop: () => void; abandon?: (() => void) | undefined } | undefined;
let is_stopping = false;
let signals = 0;
let output_problem: string | undefined;

function stopCommand(): void {
  if (command === undefined || is_stopping) return;
  is_stopping = true;
  command.stop();
}

function onSignal(): void {
  if (++signals === 1) return stopCommand();
  command?.abandon?.();
  process.exit(EXIT.incomplete);
}

function listen(): void {
  for (const signal of SIGNALS) process.on(signal, onSignal);
  // The kernel and the shell both send it when a terminal is closed, so a second one is no wish to end at once.
  process.on('SIGHUP', stopCommand);
}

/** Registers the command's handlers, replacing earlier ones. If it is to stop already, `stop` is called at once. */
function onInterrupt(stop: () => void, abandon?: () => void): void {
  if (command === undefined) listen();
  command = { stop, abandon };
  if (is_stopping) stop();
}

/**
 * Called when stdout can't be written: a reader that went away (`… | head`) is no failure, a full disk is one. A command that
 * drains is stopped as by a signal, so that its other destinations still get what was read; the others have printed all that
 * they print, or notice the error themselves. Each ends with the status of what it has found by then.
 */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE')
    output_problem ??= `can't write to stdout: ${errorReason(error)}; check where stdout is redirected to`;
  stopCommand();
}

/** The level of the log for what ends the program. */
const FATAL = 60;

/** The last line of stderr. Not logged: it is there whatever the level of the log is. */
const lastLine = (error: string, format: CliOutcome['log_format']): string =>
  format === 'json'
    ? JSON.stringify({ level: FATAL, time: Date.now(), msg: error })
    : `openclaw-otel-bridge: ${withoutControls(error)}`;

function end({ status, error = output_problem, log_format }: CliOutcome): never {
  if (error !== undefined) process.stderr.write(`${lastLine(error, log_format)}\n`);
  process.exit(output_problem === undefined ? status : EXIT.failed);
}

/**
 * Resolves when the stream has been flushed. A pipe is written at its reader's pace: exiting earlier would cut off the output.
 */
const flushed = (stream: NodeJS.WritableStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write('', () => resolve());
  });

process.stdout.on('error', onOutputError);

const outcome = await runCli(process.argv.slice(2), { onInterrupt });
// The command is over: an output error from here on, on its last lines, has nothing to stop.
command = undefined;
await flushed(process.stdout);
end(outcome);
