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
  $ openclaw-otel-bridge                                   follow the gateway here; without one, see a recording
  $ openclaw-otel-bridge replay --to clawmetry run.ndjson  send a recording to ClawMetry on this machine
  $ openclaw-otel-bridge run                               follow OpenClaw's gateway on this machine
  $ openclaw-otel-bridge run --from unix:/run/agent.sock --to collector=http://127.0.0.1:4318
  $ openclaw-otel-bridge status                            what the bridge has done, and what is still pending
  $ openclaw-otel-bridge doctor                            what works here, and what to do about the rest
  $ openclaw-otel-bridge tree run.ndjson                   what happened in it, as a tree
  $ openclaw-otel-bridge validate events.ndjson            what is wrong with it, line by line

Sources (--from):      ws://HOST:PORT and wss://HOST (a gateway), transcripts:DIR, stdin, file:PATH, unix:PATH,
                       tcp:HOST:PORT, listen:unix:PATH, listen:tcp:HOST:PORT, otlp:HOST:PORT. Without --from: the
                       gateway at OPENCLAW_GATEWAY_URL, else at ws://127.0.0.1:18789.
Destinations (--to):   clawmetry, jaeger, collector, grafana, prometheus, otlp, console; each also as PRESET=URL or
                       NAME:PRESET=URL. Without --to: the endpoint of OTEL_EXPORTER_OTLP_*, else ClawMetry, else
                       what takes OTLP on port 4318, else the terminal.
Exit status:           0 all acknowledged, 1 could not run, 2 usage or configuration, 3 something was not delivered`;

/** The default, unless `XDG_STATE_HOME` is set. */
const DATA_DIR = '~/.local/state/openclaw-otel-bridge';

const collect = (value: string, all: string[] = []): string[] => [...all, value];

/** Rejects only what is not a number: the settings check the limits, wherever a value comes from. */
function toNumber(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('Give a number.');
  return number;
}

const option = {
  from: () => new Option('--from <source>', 'where events come from (repeat for several)').argParser(collect),
  fromStart: () =>
    new Option('--from-start', 'read transcripts from their start, not only what is added from now on'),
  to: () => new Option('--to <destination>', 'where telemetry goes (repeat for several)').argParser(collect),
  dialect: () =>
    new Option(
      '--dialect <dialect>',
      'the form of the lines; auto takes it from the first JSON object',
    ).choices([...DIALECTS]),
  config: () => new Option('--config <file>', 'settings as YAML'),
  content: () => new Option('--content', 'record inputs, outputs and reasoning text, with secrets redacted'),
  contentInJson: () =>
    new Option('--content', 'with --json: inputs, outputs and reasoning text too, with secrets redacted'),
  contentAsIs: () => new Option('--content', 'print inputs, outputs and reasoning text, as they are'),
  speed: () =>
    new Option('--speed <n>', "keep the recording's own pace, times n (as fast as possible)").argParser(
      toNumber,
    ),
  rebase: () => new Option('--rebase-time', 'move all times so that the recording ends now'),
  deadline: () =>
    new Option(
      '--deadline <seconds>',
      'how long to wait for acknowledgements after the last event (60)',
    ).argParser(toNumber),
  drain: () =>
    new Option('--drain <seconds>', 'how long to go on sending at the end (10)').argParser(toNumber),
  /** For a command that stores data; `by_default`: the default, as printed in the help. */
  dataDir: (by_default = DATA_DIR) =>
    new Option('--data-dir <dir>', `where to keep what the next start needs (${by_default})`),
  keptDataDir: () => new Option('--data-dir <dir>', `where the bridge keeps its data (${DATA_DIR})`),
  noStore: () => new Option('--no-store', 'keep nothing on disk'),
  strict: () => new Option('--strict', 'bad lines make the exit status 3'),
  summary: () => new Option('--summary <file>', 'write the summary as JSON there at the end (- for stdout)'),
  json: () => new Option('--json', 'print JSON'),
  check: () =>
    new Option('--check', 'exit with 1 unless a bridge is at work there, as a health check wants it'),
  raw: () => new Option('--raw', 'print what came in, as it came, with all content: a recording for replay'),
  type: () =>
    new Option('--type <type>', 'print only events of this type (repeat for several)').argParser(collect),
  session: () =>
    new Option('--session <key>', 'print only events of this session (repeat for several)').argParser(
      collect,
    ),
  logLevel: () => new Option('--log-level <level>', 'how much to log (info)').choices([...LOG_LEVELS]),
  logFormat: () =>
    new Option('--log-format <format>', 'how to log, to stderr (pretty)').choices([...LOG_FORMATS]),
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

export interface CliDependencies {
  onInterrupt: OnInterrupt;
}

type Action = (
  settings: Settings,
  options: PlainOptions & SettingOptions,
  logger: Logger,
) => Promise<Outcome>;

/** Parses arguments and runs the command that they name. Usage errors are outcomes too. */
export async function runCli(args: string[], { onInterrupt }: CliDependencies): Promise<Outcome> {
  let outcome: Outcome = { status: EXIT.ok };

  async function act(command: Command, action: Action): Promise<void> {
    const options: GivenOptions = command.optsWithGlobals();
    const [{ resolveSettings }, { createLogger }] = await Promise.all([
      import('./start/settings.js'),
      import('./start/log.js'),
    ]);
    const settings = resolveSettings(settingOptions(options), options.config);
    if ('error' in settings) outcome = { ...misused(settings.error), log_format: options.logFormat };
    else {
      const logger = createLogger(settings.log_level, settings.log_format);
      if (settings.no_store && options.dataDir !== undefined)
        logger.warn(`--no-store: nothing is kept in ${settings.data_dir}`);
      outcome = { ...(await action(settings, options, logger)), log_format: settings.log_format };
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
    const { doctor } = await import('./commands/doctor.js');
    const told = await doctor(settingOptions(options), options.config, options.json === true);
    outcome = { ...told, log_format: options.logFormat };
  }

  const program = createProgram({ act, actDraining, diagnose }, onInterrupt);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end the parsing too; commander has printed all there is to print.
    return { status: error.exitCode === 0 ? EXIT.ok : EXIT.usage };
  }
  return outcome;
}

type Act = (command: Command, action: Action) => Promise<void>;

type Diagnose = (command: Command) => Promise<void>;

interface Acts {
  act: Act;
  actDraining: Act;
  diagnose: Diagnose;
}

function createProgram({ act, actDraining, diagnose }: Acts, onInterrupt: OnInterrupt): Command {
  const program = new Command('openclaw-otel-bridge')
    .description(
      "OpenClaw's agent events as OpenTelemetry: agent runs, tool calls and sub-agents as one tree per request.",
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .showHelpAfterError('(--help tells what there is)')
    .exitOverride()
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
  const advice = known === '' ? `${parent.name()} has none of its own` : `give one of ${known}`;
  return parent.error(`error: unknown command '${name}'; ${advice}`);
}

/** `help` for a program or a command with subcommands; commander's own does not report an unknown name. */
function helpCommand(parent: Command): Command {
  return new Command('help')
    .description('what a command does')
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
    .description('follow live sources until a signal or their end, then send what is left')
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
    .description('read recordings to their end, export them, wait for every acknowledgement')
    .argument('<file...>', 'recordings: catalog events, gateway frames or transcripts, a line each')
    .addOption(option.to())
    .addOption(option.dialect())
    .addOption(option.content())
    .addOption(option.speed())
    .addOption(option.rebase())
    .addOption(option.deadline())
    .addOption(option.dataDir('nothing is kept'))
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
    .addOption(option.dataDir())
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
    .description('print the runs of recordings as a tree; sends nothing')
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
    .description('check every line of recordings, and print FILE:LINE: path: what is wrong')
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
      'look at the gateway, the destinations and the data directory: what is wrong, and what to do',
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
    .description('what a bridge, running or stopped, has done up to now, and what is still pending')
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
  const list = subcommand('list', 'one line each: when, where to, what, and why it was refused')
    .addOption(option.json())
    .action((_options: PlainOptions, command: Command) =>
      act(command, async (settings, { json }) =>
        (await import('./commands/dead-letters.js')).listDeadLetters(settings, json === true),
      ),
    );
  const show = subcommand('show', 'one of them with all that it holds, as JSON')
    .argument('<id>')
    .action((id: string, _options: PlainOptions, command: Command) =>
      act(command, async (settings) =>
        (await import('./commands/dead-letters.js')).showDeadLetter(id, settings),
      ),
    );
  const resend = subcommand(
    'resend',
    'send all of them again, or some; what is taken is no dead letter any more',
  )
    .argument('[id...]')
    .addOption(option.to())
    .addOption(option.deadline())
    .action((ids: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings, _, logger) =>
        (await import('./commands/dead-letters.js')).resendDeadLetters(ids, settings, logger, onInterrupt),
      ),
    );
  const purge = subcommand('purge', 'throw all of them away, or some')
    .argument('[id...]')
    .action((ids: string[], _options: PlainOptions, command: Command) =>
      act(command, async (settings) =>
        (await import('./commands/dead-letters.js')).purgeDeadLetters(ids, settings),
      ),
    );
  const command = new Command('dead-letters')
    .description('what backends refused for good, and what to do with it')
    .action((_options: PlainOptions, { args: [unknown] }: Command) =>
      unknown === undefined ? command.help({ error: true }) : unknownCommand(command, unknown),
    );
  for (const each of [list, show, resend, purge]) command.addCommand(each);
  command.helpCommand(false).addCommand(helpCommand(command));
  return command;
}
