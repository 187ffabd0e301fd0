/**
 * A scripted model behind OpenAI's streamed chat completions. A marker in the user's message selects the script, and the
 * number of answers after that message the step. Its log of requests and answers tells the tests what to expect, and it can
 * be held at a step.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { type Changes, createChanges } from '../../cli/changes.js';

interface ToolRequest {
  name: string;
  args: object;
}

/** In the provider's terms: `input` includes `cached`, and `output` includes `reasoning`. */
export interface Usage {
  input: number;
  cached: number;
  output: number;
  reasoning: number;
}

interface Answer {
  usage: Usage;
  thinking?: string;
  text?: string;
  tools?: ToolRequest[];
}

/** A step of a script: an answer, or the status with which the request is refused. */
type Step = Answer | { refused: number };

/** The part of a message that selects a script. */
export const marker = (script: string): string => `[[script:${script}]]`;

const exec = (command: string): ToolRequest => ({ name: 'exec', args: { command } });
const read = (path: string): ToolRequest => ({ name: 'read', args: { path } });
const spawn = (name: string): ToolRequest => ({
  name: 'sessions_spawn',
  args: { task: `Report. ${marker(name)}`, taskName: name.replaceAll('-', '_'), label: name },
});
const WAIT: ToolRequest = { name: 'sessions_yield', args: { message: 'Waiting for the others.' } };

const usage = (input: number, cached: number, output: number, reasoning = 0): Usage => ({
  input,
  cached,
  output,
  reasoning,
});

/** The last step of a script is repeated for further requests. */
const SCRIPTS = {
  plain: [{ thinking: 'What to say?', text: 'A plain answer.', usage: usage(1_200, 800, 150, 64) }],
  tools: [
    {
      thinking: 'First a command.',
      tools: [exec('echo hello; sleep 0.3')],
      usage: usage(2_000, 1_500, 60, 12),
    },
    {
      tools: [{ name: 'write', args: { path: 'note.txt', content: 'a line\n' } }],
      usage: usage(2_100, 2_000, 40),
    },
    { thinking: 'Is it there?', tools: [read('note.txt')], usage: usage(2_200, 2_100, 31, 5) },
    { tools: [read('no-such-file.txt')], usage: usage(2_300, 2_200, 32) },
    { tools: [exec('echo no >&2; exit 3')], usage: usage(2_400, 2_300, 33) },
    {
      thinking: 'Three at once.',
      tools: [exec('sleep 0.5; echo a'), exec('sleep 3; echo b'), read('note.txt')],
      usage: usage(2_500, 2_400, 90, 17),
    },
    { thinking: 'That was all.', text: 'Done.', usage: usage(2_700, 2_600, 70, 9) },
  ],
  spawn: [
    { thinking: 'Two helpers.', tools: [spawn('child-a')], usage: usage(3_000, 2_500, 80, 20) },
    { tools: [spawn('child-b')], usage: usage(3_100, 3_000, 81) },
    { tools: [WAIT], usage: usage(3_200, 3_100, 21) },
  ],
  'child-a': [
    { thinking: 'A command.', tools: [exec('echo a')], usage: usage(700, 0, 30, 8) },
    { text: 'It printed a.', usage: usage(800, 700, 25) },
  ],
  'child-b': [
    { tools: [spawn('grandchild')], usage: usage(710, 0, 34) },
    { tools: [WAIT], usage: usage(810, 700, 13) },
  ],
  grandchild: [
    { thinking: 'One that fails.', tools: [exec('exit 7')], usage: usage(500, 0, 22, 3) },
    { text: 'It failed.', usage: usage(600, 500, 23) },
  ],
  /** The answer to a parent that gets the reports of its children. */
  announced: [{ thinking: 'Both are back.', text: 'They have reported.', usage: usage(1_500, 1_400, 18, 4) }],
  /** The client retries until the last refusal, whose status is not retried. */
  refused: [{ refused: 500 }, { refused: 500 }, { refused: 400 }],
  silent: [{ text: 'NO_REPLY', usage: usage(50, 0, 5) }],
  aborted: [{ tools: [exec('echo started; sleep 60')], usage: usage(1_000, 0, 26) }],
} as const satisfies Record<string, Step[]>;

export type Script = keyof typeof SCRIPTS;

/** The root's, two children's, a grandchild's, and two that continue a request after waiting for those. */
export const RUNS_OF_SPAWN = 6;

/** A request and its outcome. */
export interface ModelCall {
  script: Script;
  step: number;
  response_id: string;
  /** Set if the answer was read to its end. */
  usage?: Usage;
  /** The ids of the tool calls that it requested. */
  call_ids: string[];
}

export interface Hold {
  /** Resolves when all of the steps have been requested. */
  reached: Promise<void>;
  release(): void;
}

export interface Model {
  /** The provider's `baseUrl`. */
  url: string;
  /** All requests so far. */
  log: ModelCall[];
  /** Holds back the answers to these steps from now on. */
  hold(...steps: `${Script} ${number}`[]): Hold;
  /** Resolves once `isSo` returns true; it is checked after each request and each answer. */
  until: Changes['until'];
  stop(): Promise<void>;
}

const nameOf = ({ script, step }: ModelCall): string => `${script} ${step}`;

interface Message {
  role: string;
  content: unknown;
}

interface Request {
  model: string;
  messages: Message[];
  tools?: { function: { name: string } }[];
}

const textOf = ({ content }: Message): string =>
  typeof content === 'string' ? content : JSON.stringify(content ?? '');

/** The part of a message between these marks quotes the sub-agents' tasks, markers included. */
const QUOTED = /<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?<<<END_OPENCLAW_INTERNAL_CONTEXT>>>/gs;

const isScript = (name: string): name is Script => Object.hasOwn(SCRIPTS, name);

function scriptOf(message: Message): Script | undefined {
  if (message.role !== 'user') return undefined;
  const text = textOf(message);
  const [, name = ''] = /\[\[script:([a-z-]+)\]\]/.exec(text.replaceAll(QUOTED, '')) ?? [];
  if (isScript(name)) return name;
  return text.includes('has now settled') ? 'announced' : undefined;
}

/** The script that was selected last, and the number of its steps that have been answered. */
function findStep(messages: Message[]): { script: Script; step: number } {
  const at = messages.findLastIndex((message) => scriptOf(message) !== undefined);
  const message = messages[at];
  const script = (message && scriptOf(message)) ?? 'plain';
  return { script, step: messages.slice(at + 1).filter(({ role }) => role === 'assistant').length };
}

/** OpenClaw offers most of its tools only through its tool `tool_call`. */
const asOffered = (tool: ToolRequest, { tools = [] }: Request): ToolRequest =>
  tools.some((offered) => offered.function.name === tool.name)
    ? tool
    : { name: 'tool_call', args: { id: tool.name, args: tool.args } };

const usageOf = ({ input, cached, output, reasoning }: Usage): object => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  prompt_tokens_details: { cached_tokens: cached },
  completion_tokens_details: { reasoning_tokens: reasoning },
});

/** Streams an answer; resolves with whether it was read to its end. */
async function say(
  answer: Answer,
  tools: { id: string; tool: ToolRequest }[],
  id: string,
  model: string,
  response: ServerResponse,
): Promise<boolean> {
  const send = (rest: object): void => {
    const chunk = {
      id,
      object: 'chat.completion.chunk',
      created: Math.floor(Date.now() / 1000),
      model,
      ...rest,
    };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  const delta = (part: object, finish_reason: string | null = null): void =>
    send({ choices: [{ index: 0, delta: part, finish_reason }] });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  delta({ role: 'assistant', content: '' });
  if (answer.thinking !== undefined) delta({ reasoning_content: answer.thinking });
  if (answer.text !== undefined) delta({ content: answer.text });
  const tool_calls = tools.map(({ id, tool: { name, args } }, index) => ({
    index,
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(args) },
  }));
  if (tool_calls.length > 0) delta({ tool_calls });
  delta({}, tool_calls.length > 0 ? 'tool_calls' : 'stop');
  send({ choices: [], usage: usageOf(answer.usage) });
  const closed = once(response, 'close');
  response.end('data: [DONE]\n\n');
  await closed;
  return response.writableFinished;
}

export async function startModel(): Promise<Model> {
  const log: ModelCall[] = [];
  const changes = createChanges();
  const held = new Set<string>();
  let refusals = 0;
  let call_ids = 0;

  async function answer(request: Request, response: ServerResponse): Promise<void> {
    const found = findStep(request.messages);
    const { script } = found;
    // A refusal leaves no message in the conversation, so these steps are counted here.
    const step = script === 'refused' ? refusals++ : found.step;
    const steps: readonly Step[] = SCRIPTS[script];
    const said = steps[Math.min(step, steps.length - 1)] as Step;
    const call: ModelCall = { script, step, response_id: `response-${log.length + 1}`, call_ids: [] };
    log.push(call);
    changes.tell();
    await changes.until(() => !held.has(nameOf(call)));
    // The client may have disconnected meanwhile.
    if (response.destroyed) return;
    if ('refused' in said) {
      response.writeHead(said.refused, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: `the script says ${said.refused}` } }));
      return;
    }
    const tools = (said.tools ?? []).map((tool) => ({
      id: `call-${++call_ids}`,
      tool: asOffered(tool, request),
    }));
    call.call_ids = tools.map(({ id }) => id);
    if (await say(said, tools, call.response_id, request.model, response)) call.usage = said.usage;
    changes.tell();
  }

  const server = createServer(async (request: IncomingMessage, response) => {
    await answer((await json(request)) as Request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    log,
    hold(...steps) {
      for (const step of steps) held.add(step);
      const seen = log.length;
      const isAskedFor = (step: string): boolean => log.slice(seen).some((call) => nameOf(call) === step);
      return {
        reached: changes.until(() => steps.every(isAskedFor)),
        release() {
          for (const step of steps) held.delete(step);
          changes.tell();
        },
      };
    },
    until: changes.until,
    async stop() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
