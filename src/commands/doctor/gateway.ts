/**
 * Checks the gateways that `run` would follow: the address of each, the secret for it, whether it accepts the bridge, and what
 * is visible through it. The check connects as `run` does, so that a pairing requested here serves there.
 */
import {
  type Access,
  type Connection,
  enterGateway,
  type ParsedSource,
  type Refusal,
} from '../../source/index.js';
import { findSecrets, gatewayAccess, isLocal } from '../../start/gateway.js';
import type { NamesOrigin } from '../../start/origin.js';
import type { Settings } from '../../start/settings.js';
import type { NamedSources } from '../../start/sources.js';
import { formatDuration } from '../../terminal/units.js';
import { number, object } from '../../util/json.js';
import type { Variables } from '../../util/variables.js';
import { type Check, ok, problem, warning } from './check.js';
import { checkOtlp } from './otlp.js';

type Gateway = Extract<ParsedSource, { kind: 'gateway' }>;

const IN_FILE: NamesOrigin = 'the configuration file';

/** Longer than a handshake may take, so that its own timeout is reported. */
const ENTER_TIMEOUT_MS = 11_000;
const CALL_TIMEOUT_MS = 2_500;

/** With a larger difference, spans of the bridge and of other programs are no longer in the order of events. */
const CLOCK_TOLERANCE_MS = 1_000;

/** Reasons for which no gateway has answered. */
const UNREACHED: ReadonlySet<Refusal['reason']> = new Set([
  'unreachable',
  'not_a_gateway',
  'no_answer',
  'busy',
  'certificate_refused',
]);

function describeRefusal({ reason, found, advice }: Refusal): Check[] {
  if (UNREACHED.has(reason)) return [problem('gateway', found, advice)];
  return [ok('gateway', 'answers'), problem('gateway access', found, advice)];
}

async function checkSessions({ call }: Connection): Promise<Check> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), CALL_TIMEOUT_MS);
  });
  const answer = await Promise.race([call('sessions.list', {}), late]);
  clearTimeout(timer);
  if (answer?.ok !== true) {
    const why = answer === undefined ? `no answer within ${CALL_TIMEOUT_MS / 1000} s` : answer.error.message;
    return warning('gateway sessions', `can't list sessions: ${why}`, "check the gateway's log");
  }
  const { sessions, count, totalCount } = object(answer.payload);
  const listed = Array.isArray(sessions) ? sessions.length : 0;
  return ok('gateway sessions', `${number(totalCount) ?? number(count) ?? listed} visible`);
}

function checkClock({ clock_offset_ms }: Connection): Check {
  const off_ms = Math.abs(clock_offset_ms);
  const found = `${formatDuration(off_ms)} ${clock_offset_ms < 0 ? 'behind' : 'ahead of'} this machine's`;
  return off_ms > CLOCK_TOLERANCE_MS
    ? warning('gateway clock', found, 'synchronise both with the same time server (NTP)')
    : ok('gateway clock', found);
}

async function checkAccess(access: Access): Promise<Check[]> {
  const stop = AbortSignal.timeout(ENTER_TIMEOUT_MS);
  const entered = await enterGateway(access, { onEvent: () => undefined, stop });
  if ('kind' in entered) return describeRefusal(entered);
  const { protocol, server_version, scopes } = entered.hello;
  const sessions = await checkSessions(entered);
  entered.close();
  return [
    ok('gateway', `OpenClaw ${server_version}, protocol ${protocol}`),
    ok('gateway access', `granted, with ${scopes.join(', ')}`),
    sessions,
    checkClock(entered),
  ];
}

/** Which secret there is and where it comes from; never the secret itself. */
function checkSecret({ url, name }: Gateway, settings: Settings, env: Variables, access: Access): Check {
  const check = 'gateway secret';
  const { value: secrets, origin } = findSecrets(url, settings, env);
  const kinds = [secrets.token && 'token', secrets.password && 'password'].filter(Boolean).join(' and ');
  if (kinds !== '') return ok(check, `${kinds} from ${origin}`);
  if (access.devices.tokenOf(name) !== undefined) return ok(check, "this bridge's device token");
  if (secrets.problem !== undefined) return warning(check, secrets.problem);
  const why = isLocal(url)
    ? `not in the environment, the configuration file or ${origin}`
    : 'the secret in openclaw.json is used only for a gateway on this machine';
  return ok(check, `none: ${why}`);
}

async function checkGateway(
  gateway: Gateway,
  origin: string,
  settings: Settings,
  env: Variables,
): Promise<Check[]> {
  const access = gatewayAccess(gateway, settings, env);
  return [
    ok('gateway address', `${gateway.name} (${origin})`),
    checkSecret(gateway, settings, env, access),
    ...(await checkAccess(access)),
  ];
}

async function checkSource(
  source: ParsedSource,
  origin: string,
  settings: Settings,
  env: Variables,
): Promise<Check[]> {
  if (source.kind === 'gateway') return checkGateway(source, origin, settings, env);
  if (source.kind === 'otlp') return [await checkOtlp(source, origin)];
  return [ok('source', `${source.name} (${origin}) is not checked: only gateways and otlp sources are`)];
}

/** Invalid source names in the configuration file, which count as problems of the file. */
export const wrongInFile = ({ named, origin }: NamedSources): string[] =>
  origin === IN_FILE ? named.flatMap((source) => ('error' in source ? [source.error] : [])) : [];

/** Checks all sources at the same time; the results are in their order. */
export async function checkSources(
  { named, origin }: NamedSources,
  settings: Settings,
  env: Variables,
): Promise<Check[]> {
  const checks = named.map(async (source) => {
    if (!('error' in source)) return checkSource(source, origin, settings, env);
    return origin === IN_FILE ? [] : [problem('source', source.error)];
  });
  return (await Promise.all(checks)).flat();
}
