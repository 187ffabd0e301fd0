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
  isRetried,
  oneLine,
  redactSecrets,
  throughProxy,
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
function quote({ status, body }: Answered, endpoint: EndpointConfig): string {
  const text = redactSecrets(oneLine(new TextDecoder().decode(body)), [endpoint], '…');
  return text === '' ? `HTTP ${status}` : `HTTP ${status}: ${text.slice(0, MAX_SHOWN)}`;
}

/** Refused data is not lost. */
const RESEND = 'then run `dead-letters resend` to send what it rejected so far';

const notLetIn = ({ status }: Answered, endpoint: EndpointConfig, config: DestinationConfig): Finding =>
  wrong(`denies access (HTTP ${status})`, `${accessAdvice(config, endpoint)}; ${RESEND}`);

const redirected = ({ status, location }: Answered, endpoint: EndpointConfig): Finding =>
  location === undefined
    ? wrong(`redirects without a usable URL (HTTP ${status})`, 'check the URL')
    : wrong(
        `redirects to ${redactSecrets(location, [endpoint], '…')} (HTTP ${status}); redirects are not followed`,
        'if that is the backend, use that URL, without /v1/…',
      );

const ENCODING_NAMES = { json: 'JSON', protobuf: 'protobuf' } as const;

function encodingRefused({ status }: Answered, { encoding }: EndpointConfig): Finding {
  const other = encoding === 'json' ? 'protobuf' : 'json';
  return wrong(
    `does not accept ${ENCODING_NAMES[encoding]} (HTTP ${status})`,
    `set OTEL_EXPORTER_OTLP_PROTOCOL=http/${other}, or "encoding: ${other}" for this destination in the configuration file`,
  );
}

const accepted = ({ body }: Answered, { encoding, proxy }: EndpointConfig): Finding =>
  isPage(body)
    ? wrong('answers with a web page, so it is not an OTLP backend', 'check the URL')
    : { level: 'ok', found: throughProxy(`accepts ${ENCODING_NAMES[encoding]}`, proxy) };

function describeAnswer(answer: Answered, endpoint: EndpointConfig, config: DestinationConfig): Finding {
  const { status } = answer;
  if (status >= 200 && status < 300) return accepted(answer, endpoint);
  if (status >= 300 && status < 400) return redirected(answer, endpoint);
  if (isAccessRefused(httpReason(status))) return notLetIn(answer, endpoint, config);
  if (isNotThere(httpReason(status)))
    return wrong(`no OTLP endpoint there (HTTP ${status})`, 'check the URL');
  if (status === 415 || status === 501) return encodingRefused(answer, endpoint);
  const words = quote(answer, endpoint);
  if (isRetried(status))
    return { level: 'warning', found: words, advice: "check the backend's log; the bridge would retry" };
  return wrong(words, /HTTPS/.test(words) ? 'use https:// in its URL' : "check the backend's log");
}

/** Failed requests, recognised by the messages of Node.js and OpenSSL. */
const FAILURES: readonly [pattern: RegExp, found: string, advice: string][] = [
  [/\(407\)/, 'the proxy requires a user name and password', 'add them to the proxy URL in that variable'],
  [
    /Proxy response/,
    'the proxy refuses the connection',
    "check the proxy's rules, or add the host to NO_PROXY",
  ],
  [/ECONNREFUSED/, 'connection refused', 'start the backend, or check the address'],
  [/ENOTFOUND|EAI_AGAIN/, 'host name not found', 'check the address'],
  [/altname/i, 'TLS: its certificate is for another host name', 'use the host name in the certificate'],
  [/expired/i, 'TLS: its certificate has expired', 'renew the certificate'],
  [
    /certificate|issuer/i,
    'TLS: its certificate is not signed by a trusted authority',
    'set OTEL_EXPORTER_OTLP_CERTIFICATE, or "tls: {ca: …}" in the configuration file, to the CA certificate file',
  ],
  [/EPROTO|SSL|wrong version/i, 'the server does not speak TLS', 'use http:// in its URL'],
];

export function describeOutcome(
  outcome: ExportOutcome,
  endpoint: EndpointConfig,
  config: DestinationConfig,
): Finding {
  if (outcome.kind === 'answered') return describeAnswer(outcome, endpoint, config);
  if (outcome.reason === 'timeout') return wrong(outcome.message, "check the address and the backend's load");
  const known = FAILURES.find(([pattern]) => pattern.test(outcome.message));
  const [, found = outcome.message, advice = 'check the address, and whether it needs http:// or https://'] =
    known ?? [];
  // An unknown message names the proxy itself.
  return wrong(known === undefined ? found : throughProxy(found, endpoint.proxy), advice);
}
