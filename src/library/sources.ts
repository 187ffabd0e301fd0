/**
 * The sources of the library: plain records that correspond to values of `--from`, and sources of the program's own.
 */
import { z } from 'zod';
import type { Logger } from '../model/logger.js';
import {
  type LineBatch,
  type Receipt,
  type Source,
  SourceError,
  type SourceStatus,
} from '../model/source.js';
import { LOOPBACK, parseSourceName, recordingsName } from '../source/index.js';
import { gatewayUrl } from '../start/gateway.js';
import type { WantedSource } from '../start/sources.js';
import { attempt } from '../util/callback.js';
import { errorReason } from '../util/errors.js';
import { isObject, type Json } from '../util/json.js';
import { strictSettings } from '../util/schema.js';
import { check, wrong } from './configuration-error.js';

const text = z.string().min(1, 'must not be empty');
const port = z.int().min(0).max(65_535);

/** A Unix socket's path, or a host and a port. */
const address = { path: text.optional(), host: text.optional(), port: port.optional() };

const sourceSchema = z.discriminatedUnion('kind', [
  strictSettings({ kind: z.literal('stdin') }),
  strictSettings({ kind: z.literal('file'), path: text }),
  strictSettings({
    kind: z.literal('recordings'),
    paths: z.array(text).min(1, 'must have at least one file'),
  }),
  strictSettings({ kind: z.literal('socket'), ...address }),
  strictSettings({ kind: z.literal('listen'), ...address }),
  strictSettings({ kind: z.literal('otlp'), host: text.optional(), port }),
  strictSettings({ kind: z.literal('transcripts'), directory: text }),
  strictSettings({
    kind: z.literal('gateway'),
    url: text.optional(),
    token: text.optional(),
    password: text.optional(),
  }),
]);

/** A source by its kind and settings; docs/library.md lists them. */
export type SourceRecord = z.infer<typeof sourceSchema>;
type RecordOf<K extends SourceRecord['kind']> = Extract<SourceRecord, { kind: K }>;

/** A source of the bridge, by how it is opened. */
export type LibrarySource =
  | { name: string; wanted: WantedSource }
  | { name: string; paths: string[] }
  | { name: string; own: Source };

/** Whether it is meant as a source of the program's own. */
const isOwn = (value: unknown): value is Json => isObject(value) && ('open' in value || 'close' in value);

function readOwn(value: Json, place: string): LibrarySource {
  if (typeof value.open !== 'function' || typeof value.close !== 'function')
    throw wrong(place, 'must have a kind, such as "file", or be an object with the methods open and close');
  return { name: check(text, value.name, `${place}.name`), own: value as unknown as Source };
}

const hostPort = (host: string | undefined, port: number): string =>
  `${host?.includes(':') ? `[${host}]` : (host ?? LOOPBACK)}:${port}`;

function addressName({ path, host, port }: RecordOf<'socket' | 'listen'>, place: string): string {
  if (path !== undefined && host === undefined && port === undefined) return `unix:${path}`;
  if (path === undefined && port !== undefined) return `tcp:${hostPort(host, port)}`;
  throw wrong(place, 'must have either a path (of a Unix socket) or a port, with or without a host');
}

/** The source's name, as a value of `--from`. */
function nameOf(record: Exclude<SourceRecord, RecordOf<'recordings'>>, place: string): string {
  switch (record.kind) {
    case 'stdin':
      return 'stdin';
    case 'file':
      return `file:${record.path}`;
    case 'socket':
      return addressName(record, place);
    case 'listen':
      return `listen:${addressName(record, place)}`;
    case 'otlp':
      return `otlp:${hostPort(record.host, record.port)}`;
    case 'transcripts':
      return `transcripts:${record.directory}`;
    case 'gateway':
      return record.url ?? gatewayUrl({ gateway: {} }, process.env);
  }
}

function readRecord(record: SourceRecord, place: string): LibrarySource {
  if (record.kind === 'recordings') return { name: recordingsName(record.paths), paths: record.paths };
  const name = nameOf(record, place);
  if (record.kind === 'gateway' && !/^wss?:\/\//.test(name))
    throw wrong(`${place}.url`, 'must be ws://HOST:PORT or wss://HOST');
  const parsed = parseSourceName(name);
  if ('error' in parsed) throw wrong(place, parsed.error);
  if (record.kind !== 'gateway' || parsed.kind !== 'gateway') return { name: parsed.name, wanted: parsed };
  const { token, password } = record;
  const secrets = { ...(token ? { token } : {}), ...(password ? { password } : {}) };
  const has_secret = token !== undefined || password !== undefined;
  return { name: parsed.name, wanted: { ...parsed, ...(has_secret ? { secrets } : {}) } };
}

/** Throws a `ConfigurationError`. Names must be unique, since the persisted position of a source is stored under its name. */
export function readSources(values: unknown[], taken: string): LibrarySource[] {
  const sources: LibrarySource[] = [];
  for (const [index, value] of values.entries()) {
    const place = `sources.${index}`;
    const source = isOwn(value)
      ? readOwn(value, place)
      : readRecord(check(sourceSchema, value, place), place);
    if (source.name === taken || sources.some(({ name }) => name === source.name))
      throw wrong(
        place,
        `another source is already named ${source.name}; remove one, or give it another name`,
      );
    sources.push(source);
  }
  return sources;
}

const failureOf = (name: string, error: unknown): SourceError =>
  error instanceof SourceError ? error : new SourceError(`the source ${name} failed: ${errorReason(error)}`);

const isLine = (line: unknown): boolean =>
  isObject(line) && Number.isInteger(line.number) && (Buffer.isBuffer(line.bytes) || 'skipped' in line);

const isReceipt = (value: unknown): boolean =>
  isObject(value) && typeof value.reject === 'function' && typeof value.settle === 'function';

const isBatch = ({ kind, stream, lines, arrival_ms, receipt }: Json): boolean =>
  kind === 'lines' &&
  typeof stream === 'string' &&
  Number.isFinite(arrival_ms) &&
  Array.isArray(lines) &&
  lines.every(isLine) &&
  (receipt === undefined || isReceipt(receipt));

const isItem = (item: unknown): boolean =>
  isObject(item) && (isBatch(item) || (item.kind === 'status' && typeof item.message === 'string'));

type Item = LineBatch | SourceStatus;

/** A JavaScript program is bound to no type: invalid items would fail far from their origin. */
async function* checkItems(items: AsyncIterable<Item>): AsyncGenerator<Item> {
  for await (const item of items) {
    if (!isItem(item))
      throw new Error(
        'it yielded an item that is neither a SourceStatus nor a LineBatch with the bytes of each line as a Buffer',
      );
    yield item;
  }
}

/** A receipt is called in the middle of applying a batch, or long after that: its errors are only reported. */
const guardReceipt = (receipt: Receipt, onError: (error: unknown) => void): Receipt => ({
  reject: (line) => attempt(() => receipt.reject(line), onError),
  settle: (is_recoverable) => attempt(() => receipt.settle(is_recoverable), onError),
});

/**
 * Turns errors of a program's own source into failures of that source alone. Such a source can't be told where to resume, so the
 * positions that it gives are of no use, and need not be what can be stored.
 */
export function guardSource(source: Source, logger: Logger): Source {
  const { name } = source;

  const warnOfReceipt = (error: unknown): void =>
    logger.warn(`a receipt of the source ${name} failed: ${errorReason(error)}`);

  function guardItem(item: Item): Item {
    if (item.kind !== 'lines') return item;
    const { position, receipt, ...batch } = item;
    return { ...batch, ...(receipt === undefined ? {} : { receipt: guardReceipt(receipt, warnOfReceipt) }) };
  }

  async function* guardItems(items: AsyncIterable<Item>): AsyncGenerator<Item> {
    try {
      for await (const item of checkItems(items)) yield guardItem(item);
    } catch (error) {
      throw failureOf(name, error);
    }
  }

  return {
    name,
    async open() {
      try {
        return guardItems(await source.open());
      } catch (error) {
        throw failureOf(name, error);
      }
    },
    async close() {
      try {
        await source.close();
      } catch (error) {
        logger.warn(failureOf(name, error).message);
      }
    },
  };
}
