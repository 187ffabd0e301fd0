/**
 * Explains a backend's response to an empty export: what is wrong with the backend, the URL, the token or the encoding, and
 * what to do. Pure: the requests are made in `destinations.ts`.
 */
import {
  accessAdvice,
  type DestinationConfig,
  type EndpointConfig,
  type ExportOutcome,
  httpReason,
  isAccessRefused,
  isNotThere,
  isPage,
  oneLine,
  redactSecrets,
} from '../../export/index.js';
import type { Level } from './check.js';

export interface Finding {
  level: Level;
  found: string;
  advice?: string;
}

type Answered = Extract<ExportOutcome, { kind: 'answered' }>;

const MAX_SHOWN = 200;

const wrong = (found: string, advice: string): Finding => ({ level: 'problem', found, advice });

/** The backend's own message, shortened and without the secrets that it was sent. */
function said({ status, body }: Answered, endpoint: EndpointConfig): string {
  const text = redactSecrets(oneLine(new TextDecoder().decode(body)), [endpoint], '…');
  return text === '' ? `HTTP ${status}` : `HTTP ${status}: ${text.slice(0, MAX_SHOWN)}`;
}

/** Refused data is not lost. */
const RESEND = 'then `dead-letters resend` sends what it has refused so far';

const notLetIn = ({ status }: Answered, endpoint: EndpointConfig, config: DestinationConfig): Finding =>
  wrong(`does not let the bridge in (HTTP ${status})`, `${accessAdvice(config, endpoint)}; ${RESEND}`);

const redirected = ({ status, location }: Answered, endpoint: EndpointConfig): Finding =>
  location === undefined
    ? wrong(`redirects (HTTP ${status})`, 'give the URL that it redirects to')
    : wrong(
        `redirects to ${redactSecrets(location, [endpoint], '…')} (HTTP ${status}), which is not followed`,
        'give the URL that it redirects to, without /v1/…, if that is the backend',
      );

const throughProxy = (proxy: EndpointConfig['proxy']): string =>
  proxy === undefined ? '' : `, through the proxy ${proxy.url} (${proxy.variable})`;

const ENCODING_NAMES = { json: 'JSON', protobuf: 'protobuf' } as const;

function encodingRefused({ status }: Answered, { encoding }: EndpointConfig): Finding {
  const other = encoding === 'json' ? 'protobuf' : 'json';
  return wrong(
    `does not take ${ENCODING_NAMES[encoding]} (HTTP ${status})`,
    `set OTEL_EXPORTER_OTLP_PROTOCOL=http/${other}, or "encoding: ${other}" for it in the configuration file`,
  );
}

const accepted = ({ body }: Answered, { encoding, proxy }: EndpointConfig): Finding =>
  isPage(body)
    ? wrong('answers with a page, as no OTLP backend does', 'check the URL')
    : { level: 'ok', found: `takes ${ENCODING_NAMES[encoding]}${throughProxy(proxy)}` };

function describeAnswer(answer: Answered, endpoint: EndpointConfig, config: DestinationConfig): Finding {
  const { status } = answer;
  if (status >= 200 && status < 300) return accepted(answer, endpoint);
  if (status >= 300 && status < 400) return redirected(answer, endpoint);
  if (isAccessRefused(httpReason(status))) return notLetIn(answer, endpoint, config);
  if (isNotThere(httpReason(status))) return wrong(`takes none there (HTTP ${status})`, 'check the URL');
  if (status === 415 || status === 501) return encodingRefused(answer, endpoint);
  const words = said(answer, endpoint);
  if (status === 429 || status >= 500) {
    return { level: 'warning', found: words, advice: 'look at its log; the bridge would try again' };
  }
  return wrong(words, /HTTPS/.test(words) ? 'write https:// in its URL' : 'look at its log');
}

/** Failed requests, recognised by the messages of Node.js and OpenSSL. */
const FAILURES: readonly [pattern: RegExp, found: string, advice: string][] = [
  [
    /\(407\)/,
    'the proxy wants a user name and a password',
    'put them into its URL, in the variable that names it',
  ],
  [/Proxy response/, 'the proxy does not let it through', 'look at its rules, or name the host in NO_PROXY'],
  [/ECONNREFUSED/, 'connection refused', 'start it, or check the address'],
  [/ENOTFOUND|EAI_AGAIN/, 'its host name is not found', 'check the address'],
  [/altname/i, 'TLS: its certificate is for another host name', 'use the name that the certificate is for'],
  [/expired/i, 'TLS: its certificate has expired', 'renew the certificate'],
  [
    /certificate|issuer/i,
    'TLS: its certificate is signed by nobody that this machine trusts',
    'name the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE, or as "tls: {ca: …}" in the configuration file',
  ],
  [/EPROTO|SSL|wrong version/i, 'it speaks no TLS', 'write http:// in its URL'],
];

export function describeOutcome(
  outcome: ExportOutcome,
  endpoint: EndpointConfig,
  config: DestinationConfig,
): Finding {
  if (outcome.kind === 'answered') return describeAnswer(outcome, endpoint, config);
  if (outcome.reason === 'timeout') return wrong(outcome.message, 'check the address and its load');
  const known = FAILURES.find(([pattern]) => pattern.test(outcome.message));
  const [, found = outcome.message, advice = 'check the address, and http:// or https://'] = known ?? [];
  // An unknown message names the proxy itself.
  return wrong(known === undefined ? found : `${found}${throughProxy(endpoint.proxy)}`, advice);
}
