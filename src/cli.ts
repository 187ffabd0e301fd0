/**
 * The command line: its options, and how they become settings and a command. It parses and describes; the commands do the work,
 * and are loaded only when they are named, so `--help` waits for none of them.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { OnInterrupt } from './commands/interrupt.js';
import { misused, type Outcome } from './commands/outcome.js';
import { DIALECTS } from './decode/dialect.js';
import type { Logger } from './model/logger.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat } from './start/log-options.js';
import { namesOrigin } from './start/origin.js';
import type { SettingOptions, Settings } from './start/settings.js';
import { EXIT } from './summary.js';
import { VERSION } from './version.js';

const EXAMPLES = `
Examples:
  $ openclaw-otel-bridge                                   follow the gateway here; if there is none, play a recording
  $ openclaw-otel-bridge replay --to clawmetry run.ndjson  send a recording to ClawMetry on this machine
  $ openclaw-otel-bridge run                               follow OpenClaw's gateway on this machine
  $ openclaw-otel-bridge run --from unix:/run/agent.sock --to collector=http://127.0.0.1:4318
  $ openclaw-otel-bridge status                            show what was read and delivered, and what is pending
  $ openclaw-otel-bridge doctor                            check the setup, and say how to fix each problem
  $ openclaw-otel-bridge tree run.ndjson                   print the runs in a recording as trees
  $ openclaw-otel-bridge validate events.ndjson            check a recording, and print each invalid line

Sources (--from):      ws://HOST:PORT and wss://HOST (a gateway), transcripts:DIR, stdin, file:PATH, unix:PATH,
                       tcp:HOST:PORT, listen:unix:PATH, listen:tcp:HOST:PORT, otlp:HOST:PORT. Default: the gateway
                       at OPENCLAW_GATEWAY_URL, else at ws://127.0.0.1:18789.
Destinations (--to):   clawmetry, jaeger, collector, grafana, prometheus, otlp, console; also PRESET=URL or
                       NAME:PRESET=URL. Default: the endpoint set in OTEL_EXPORTER_OTLP_*, else ClawMetry on
                       port 8900, else the OTLP receiver on port 4318, else the terminal.
Exit status:           0 all data acknowledged; 1 could not run, or validate or doctor found problems; 2 wrong usage
                       or configuration; 3 some data rejected, dropped or still pending`;

/** The default data directory, as printed in the help: the code that uses it is not loaded for that. */
const DATA_DIR = `${process.env.XDG_STATE_HOME || '~/.local/state'}/openclaw-otel-bridge`;

const collect = (value: string, all: string[] = []): string[] => [...all, value];

/** Rejects only what is not a number: the settings check the limits, wherever a value comes from. */
function toNumber(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('Give a number.');
  return number;
}

const option = {
  from: () => new Option('--from <source>', 'use this source of events (repeatable)').argParser(collect),
  fromStart: () =>
    new Option('--from-start', 'read existing transcripts from their start, not only new lines'),
  to: () =>
    new Option('--to <destination>', 'use this destination for telemetry (repeatable)').argParser(collect),
  dialect: () =>
    new Option(
      '--dialect <dialect>',
      'set the dialect of the lines; auto detects it from the first JSON object',
    ).choices([...DIALECTS]),
  config: () => new Option('--config <file>', 'read settings from a YAML file'),
  content: () => new Option('--content', 'record inputs, outputs and reasoning text, with secrets redacted'),
  contentInJson: () =>
    new Option('--content', 'with --json: include inputs, outputs and reasoning text, with secrets redacted'),
  contentAsIs: () =>
    new Option('--content', 'print inputs, outputs and reasoning text, without redacting secrets'),
  speed: () =>
    new Option(
      '--speed <n>',
      "play at n times the recording's own pace (default: as fast as possible)",
    ).argParser(toNumber),
  rebase: () => new Option('--rebase-time', 'shift all times so that the recording ends now'),
  /** `awaited`: what it limits the wait for. */
  deadline: (awaited = 'acknowledgements after the last event') =>
    new Option('--deadline <seconds>', `wait at most this long for ${awaited} (default: 60)`).argParser(
      toNumber,
    ),
  drain: () =>
    new Option(
      '--drain <seconds>',
      'send pending data for at most this long before exiting (default: 10)',
    ).argParser(toNumber),
  /** For a command that stores data; `by_default`: the default, as printed in the help. */
  dataDir: (by_default = DATA_DIR) =>
    new Option(
      '--data-dir <dir>',
      `store data for the next start in this directory (default: ${by_default})`,
    ),
  keptDataDir: () =>
    new Option('--data-dir <dir>', `use the bridge's data directory at this path (default: ${DATA_DIR})`),
  noStore: () => new Option('--no-store', 'store nothing on disk'),
  strict: () => new Option('--strict', 'exit with status 3 if any line was bad'),
  summary: () =>
    new Option('--summary <file>', 'write a JSON summary to this file before exiting (- for stdout)'),
  json: () => new Option('--json', 'print JSON'),
  check: () =>
    new Option('--check', 'exit with status 1 unless a bridge is running there, for health checks'),
  raw: () => new Option('--raw', 'print the input lines unchanged, with all content: a recording for replay'),
  type: () => new Option('--type <type>', 'print only events of this type (repeatable)').argParser(collect),
  session: () =>
    new Option('--session <key>', 'print only events of this session (repeatable)').argParser(collect),
  logLevel: () =>
    new Option('--log-level <level>', 'log messages of this level and above (default: info)').choices([
      ...LOG_LEVELS,
    ]),
  logFormat: () =>
    new Option('--log-format <format>', 'write the log to stderr in this format (default: pretty)').choices([
      ...LOG_FORMATS,
    ]),
};

/** Options that correspond to no setting. */
interface PlainOptions {
  check?: boolean;
  config?: string;
  json?: boolean;
  raw?: boolean;
  session?: string[];
  store?: boolean;
  type?: string[];
}

/** The options of a command, by commander's names. */
type GivenOptions = PlainOptions & Record<string, unknown> & { logFormat?: LogFormat };

const toSettingName = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The options that correspond to settings, under the settings' names. */
function settingOptions(options: PlainOptions & Record<string, unknown>): SettingOptions {
  const { check, config, json, raw, session, store, type, ...rest } = options;
  const settings = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [toSettingName(name), value]),
  );
  if (store === false) settings.no_store = true;
  return settings as SettingOptions;
}

/**
 * The setting with which a command stores nothing, if the same place also names a directory: a command line may well replace
 * that of a file. Without an option for it, a command stores nothing in any case.
 */
function contradiction(
  { no_store, data_dir }: Settings,
  { store, dataDir }: GivenOptions,
): '--no-store' | 'no_store' | undefined {
  if (!no_store || data_dir === undefined) return undefined;
  if (store === true) return 'no_store';
  return dataDir === undefined ? undefined : '--no-store';
}

export interface CliDependencies {
  onInterrupt: OnInterrupt;
}

type Action = (
  settings: Settings,
  options: PlainOptions & SettingOptions,
  logger: Logger,
) => Promise<Outcome>;

/** What came of a command, and the format of its log; absent if neither an option nor a readable configuration file names one. */
export type CliOutcome = Outcome & { log_format?: LogFormat | undefined };

/** Whether the arguments ask for a log in JSON, as far as that can be told from arguments that can't be parsed. */
const asksForJson = (args: string[]): boolean => /(^|\0)--log-format[=\0]json(\0|$)/.test(args.join('\0'));

/** Parses arguments and runs the command that they name. Usage errors are outcomes too. */
export async function runCli(args: string[], { onInterrupt }: CliDependencies): Promise<CliOutcome> {
  let outcome: Outcome = { status: EXIT.ok };
  let log_format: LogFormat | undefined;

  async function act(command: Command, action: Action): Promise<void> {
    const options: GivenOptions = command.optsWithGlobals();
    log_format = options.logFormat;
    const [{ resolveSettings }, { createLogger }] = await Promise.all([
      import('./start/settings.js'),
      import('./start/log.js'),
    ]);
    const settings = resolveSettings(settingOptions(options), options.config);
    if ('error' in settings) outcome = misused(settings.error);
    else {
      log_format = settings.log_format;
      const logger = createLogger(settings.log_level, log_format);
      const no_store = contradiction(settings, options);
      if (no_store !== undefined)
        logger.warn(`${no_store} is set: nothing is stored in ${settings.data_dir}`);
      outcome = await action(settings, options, logger);
    }
  }

  /** Runs a command that a signal stops in an orderly way, even while it is being loaded: it opens what it needs first. */
  function actDraining(command: Command, action: Action): Promise<void> {
    onInterrupt(() => undefined);
    return act(command, action);
  }

  /** Runs `doctor`, which checks the settings itself, so invalid settings must not stop it. */
  async function diagnose(command: Command): Promise<void> {
    const options: GivenOptions = command.optsWithGlobals();
    log_format = options.logFormat;
    const { doctor } = await import('./commands/doctor.js');
    outcome = await doctor(settingOptions(options), options.config, options.json === true);
  }

  let usage_error = '';
  const program = createProgram(
    { act, actDraining, diagnose },
    onInterrupt,
    asksForJson(args) ? (text) => (usage_error += text) : undefined,
  );
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end the parsing too; commander has printed all there is to print, except for an error in JSON.
    const status = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (usage_error === '') return { status };
    return { status, error: usage_error.replace(/^error: /, '').trim(), log_format: 'json' };
  }
  return { ...outcome, log_format };
}

type Act = (command: Command, action: Action) => Promise<void>;

type Diagnose = (command: Command) => Promise<void>;

interface Acts {
  act: Act;
  actDraining: Act;
  diagnose: Diagnose;
}

/** `writeErr`: takes usage errors; default: they are printed. */
function createProgram(
  { act, actDraining, diagnose }: Acts,
  onInterrupt: OnInterrupt,
  writeErr?: (text: string) => void,
): Command {
  const program = new Command('openclaw-otel-bridge')
    .description(
      "Export OpenClaw's agent events as OpenTelemetry: runs, tool calls and sub-agents as one tree per request.",
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .showHelpAfterError('(run with --help for usage)')
    .exitOverride()
    .configureOutput(writeErr === undefined ? {} : { writeErr })
    .configureHelp({ showGlobalOptions: true })
    .helpCommand(false)
    .addOption(option.logLevel())
    .addOption(option.logFormat())
    .addHelpText('after', EXAMPLES)
    .allowExcessArguments()
    .action((_options: PlainOptions, command: Command) => {
      const [unknown] = command.args;
      if (unknown === undefined)
        return actDraining(command, async (settings, _, logger) =>
          (await import('./commands/demo.js')).demo(settings, logger, onInterrupt),
        );
      return unknownCommand(command, unknown);
    });
  program.addCommand(runCommand(actDraining, onInterrupt));
  program.addCommand(replayCommand(actDraining, onInterrupt));
  program.addCommand(tailCommand(act, onInterrupt));
  program.addCommand(treeCommand(act));
  program.addCommand(validateCommand(act));
  program.addCommand(statusCommand(act));
  program.addCommand(deadLettersCommand(act, onInterrupt));
  program.addCommand(doctorCommand(diagnose));
  program.addCommand(helpCommand(program));
  // A command with subcommands accepts undeclared arguments, to list those that exist; the others do not.
  for (const command of program.commands.flatMap((each) => [each, ...each.commands]))
    command.copyInheritedSettings(program).allowExcessArguments(command.commands.length > 0);
  return program;
}

function unknownCommand(parent: Command, name: string): never {
  const known = parent.commands.map((each) => each.name()).join(', ');
  const advice = known === '' ? `${parent.name()} has no subcommands` : `use one of ${known}`;
  return parent.error(`error: unknown command '${name}'; ${advice}`);
}

/** `help` for a program or a command with subcommands; commander's own does not report an unknown name. */
function helpCommand(parent: Command): Command {
  return new Command('help')
    .description('show the help of a command')
    .argument('[command...]')
    .action((names: string[]) => {
      let named = parent;
      for (const name of names)
        named = named.commands.find((each) => each.name() === name) ?? unknownCommand(named, name);
      named.help();
    });
}

function runCommand(act: Act, onInterrupt: OnInterrupt): Command {
  return new Command('run')
    .description('follow live sources and export their events until stopped or until all sources have ended')
    .addOption(option.from())
    .addOption(option.fromStart())
    .addOption(option.to())
    .addOption(option.dialect())
    .addOption(option.content())
    .addOption(option.drain())
    .addOption(option.dataDir())
    .addOption(option.noStore())
    .addOption(option.strict())
    .addOption(option.summary())
    .addOption(option.config())
    .action((_options: PlainOptions, command: Command) =>
      act(command, async (settings, options, logger) =>
        (await import('./commands/run.js')).run(settings, logger, onInterrupt, namesOrigin(options)),
      ),
    );
}

function replayCommand(act: Act, onInterrupt: OnInterrupt): Command {
  return new Command('replay')
    .description('read recordings to their end, export them and wait for all acknowledgements')
    .argument('<file...>', 'recordings: catalog events, gateway frames or transcripts, one per line')
    .addOption(option.to())
    .addOption(option.dialect())
    .addOption(option.content())
    .addOption(option.speed())
    .addOption(option.rebase())
    .addOption(option.deadline())
    .addOption(option.dataDir('nothing is stored'))
    .addOption(option.noStore())
    .addOption(option.strict())
    .addOption(option.summary())
    .addOption(option.config())
    .action((files: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings, _, logger) =>
        (await import('./commands/replay.js')).replay(files, settings, logger, onInterrupt),
      ),
    );
}

function tailCommand(act: Act, onInterrupt: OnInterrupt): Command {
  return new Command('tail')
    .description('print the events of live sources as catalog NDJSON')
    .addOption(option.from())
    .addOption(option.fromStart())
    .addOption(option.raw())
    .addOption(option.type())
    .addOption(option.session())
    .addOption(option.dialect())
    .addOption(option.contentAsIs())
    .addOption(option.keptDataDir())
    .addOption(option.noStore())
    .addOption(option.config())
    .action((_options: PlainOptions, command: Command) =>
      act(command, async (settings, { raw, type, session, ...options }, logger) =>
        (await import('./commands/tail.js')).tail(
          {
            raw: raw === true,
            types: type ?? [],
            sessions: session ?? [],
            origin: namesOrigin(options),
          },
          settings,
          logger,
          onInterrupt,
        ),
      ),
    );
}

function treeCommand(act: Act): Command {
  return new Command('tree')
    .description('print the runs of recordings as trees, without exporting anything')
    .argument('<file...>', 'recordings')
    .addOption(option.json())
    .addOption(option.dialect())
    .addOption(option.contentInJson())
    .addOption(option.config())
    .action((files: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings, { json }, logger) =>
        (await import('./commands/tree.js')).tree(files, settings, logger, json === true),
      ),
    );
}

function validateCommand(act: Act): Command {
  return new Command('validate')
    .description('check every line of recordings, and print each problem as FILE:LINE: path: message')
    .argument('<file...>', 'recordings')
    .addOption(option.json())
    .addOption(option.dialect())
    .addOption(option.config())
    .action((files: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings, { json }) =>
        (await import('./commands/validate.js')).validate(files, settings, json === true),
      ),
    );
}

function doctorCommand(diagnose: Diagnose): Command {
  return new Command('doctor')
    .description(
      'check the gateway, the destinations and the data directory, and say how to fix each problem',
    )
    .addOption(option.from())
    .addOption(option.to())
    .addOption(option.json())
    .addOption(option.keptDataDir())
    .addOption(option.config())
    .action((_options: PlainOptions, command: Command) => diagnose(command));
}

function statusCommand(act: Act): Command {
  return new Command('status')
    .description('show what a running or stopped bridge has read and delivered, and what is pending')
    .addOption(option.json())
    .addOption(option.check())
    .addOption(option.keptDataDir())
    .addOption(option.config())
    .action((_options: PlainOptions, command: Command) =>
      act(command, async (settings, { json, check }) =>
        (await import('./commands/status.js')).status(settings, {
          as_json: json === true,
          check: check === true,
        }),
      ),
    );
}

function deadLettersCommand(act: Act, onInterrupt: OnInterrupt): Command {
  const subcommand = (name: string, description: string): Command =>
    new Command(name).description(description).addOption(option.keptDataDir()).addOption(option.config());
  const list = subcommand(
    'list',
    'list dead letters: ID, time, destination, items, reason and message of each',
  )
    .addOption(option.json())
    .action((_options: PlainOptions, command: Command) =>
      act(command, async (settings, { json }) =>
        (await import('./commands/dead-letters.js')).listDeadLetters(settings, json === true),
      ),
    );
  const show = subcommand('show', 'print one dead letter with its content, as JSON')
    .argument('<id>')
    .action((id: string, _options: PlainOptions, command: Command) =>
      act(command, async (settings) =>
        (await import('./commands/dead-letters.js')).showDeadLetter(id, settings),
      ),
    );
  const resend = subcommand(
    'resend',
    'send all or some dead letters again, and delete those that are accepted',
  )
    .argument('[id...]')
    .addOption(option.to())
    .addOption(option.deadline('all acknowledgements together'))
    .action((ids: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings, _, logger) =>
        (await import('./commands/dead-letters.js')).resendDeadLetters(ids, settings, logger, onInterrupt),
      ),
    );
  const purge = subcommand('purge', 'delete all or some dead letters')
    .argument('[id...]')
    .action((ids: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings) =>
        (await import('./commands/dead-letters.js')).purgeDeadLetters(ids, settings),
      ),
    );
  const command = new Command('dead-letters')
    .description('list, show, resend or delete data that backends rejected for good')
    .action((_options: PlainOptions, { args: [unknown] }: Command) =>
      unknown === undefined ? command.help({ error: true }) : unknownCommand(command, unknown),
    );
  for (const each of [list, show, resend, purge]) command.addCommand(each);
  command.helpCommand(false).addCommand(helpCommand(command));
  return command;
}
