import { closeSync, openSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { createStdinSource } from '../../src/source/stdin.js';
import { opened, texts } from './helpers.js';

function openStdin(input: PassThrough) {
  const source = createStdinSource({ max_line_bytes: 1_000, input });
  return { source, pulling: opened(source) };
}

describe('stdin', () => {
  test('is read to its end, including a last line without a line end', async () => {
    const stdin = new PassThrough();
    const { pulling } = openStdin(stdin);
    const puller = await pulling;
    stdin.write('{"a":1}\n{"b"');
    const batch = await puller.batch();
    expect(batch).toMatchObject({ stream: 'stdin', end: false, lines: [{ number: 1 }] });
    stdin.end(':2}');
    const rest = await puller.rest();
    expect(texts(rest)).toEqual(['{"b":2}']);
    expect(rest.at(-1)).toMatchObject({ end: true });
  });

  test('emits what has been read when it is closed, and then ends', async () => {
    const stdin = new PassThrough();
    const { source, pulling } = openStdin(stdin);
    const puller = await pulling;
    stdin.write('one\ntwo\nhal');
    await source.close();
    expect(texts(await puller.rest())).toEqual(['one', 'two', 'line_incomplete']);
    expect(stdin.closed).toBe(true);
  });

  test('throws a failure with its reason', async () => {
    const stdin = new PassThrough();
    const puller = await openStdin(stdin).pulling;
    stdin.write('one\n');
    expect(await puller.lines(1)).toEqual(['one']);
    stdin.destroy(Object.assign(new Error('read'), { code: 'EISDIR' }));
    const failure = puller.rest();
    await expect(failure).rejects.toThrow(
      "can't read stdin: it is a directory; pipe or redirect NDJSON into it",
    );
    await expect(failure).rejects.toMatchObject({ name: 'SourceError' });
  });

  test('is not opened if it is a directory, which Node.js gives as an empty stream', async () => {
    const fd = openSync('.', 'r');
    const stdin = Object.assign(new PassThrough(), { fd }).end();
    await expect(openStdin(stdin).pulling).rejects.toThrow("can't read stdin: it is a directory");
    closeSync(fd);
  });
});
