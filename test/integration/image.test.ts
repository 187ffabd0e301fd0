/** The image as the Dockerfile's steps build it: run without privileges on a read-only root, it delivers and is healthy. */

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePorts, removeDirectory, temporaryDirectory } from './backends.js';
import { EXAMPLE } from './bridge.js';
import { type OtlpRequest, unwrap } from './collector.js';
import { buildImage, type Container, type Image, NODE_UID, runImage } from './image.js';
import { composeBridgeCommand, feed } from './stack.js';

const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
const isCi = (process.env.CI ?? '') !== '';
const WAIT = { timeout: 60_000, interval: 250 };

/** A backend that accepts and stores everything. */
const received: OtlpRequest[] = [];
const server = createServer(async (request, response) => {
  received.push((await json(request)) as OtlpRequest);
  response.end('{}');
});

describe.skipIf(!isRoot && !isCi)('the image', () => {
  let directory: string;
  let image: Image;
  let container: Container;
  let port: number;

  beforeAll(async () => {
    directory = await temporaryDirectory();
    image = await buildImage(directory);
    [port = 0] = await freePorts(1);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    image.environment.OTEL_EXPORTER_OTLP_PROTOCOL = 'http/json';
    container = await runImage(image, directory, await composeBridgeCommand(port, `collector=${url}`));
  });
  afterAll(async () => {
    container?.child.kill('SIGKILL');
    server.close();
    await removeDirectory(directory);
  });

  test('contains what is needed to run, and nothing that only the build needs', () => {
    const app = join(image.stages.at(-1)?.upper ?? '', 'app');
    expect(existsSync(join(app, 'dist/main.js'))).toBe(true);
    expect(existsSync(join(app, 'node_modules/lmdb'))).toBe(true);
    for (const path of ['src', 'node_modules/typescript', 'node_modules/vitest', 'package-lock.json']) {
      expect(existsSync(join(app, path)), path).toBe(false);
    }
  });

  test('is healthy once it is working', async () => {
    await vi.waitFor(async () => {
      const { status, output } = await container.exec(image.health_check);
      expect(status, output).toBe(0);
    }, WAIT);
  });

  test('has no privileges, and can write only to its volume and /tmp', async () => {
    expect(image.user).toBe('node');
    const status = await readFile(`/proc/${container.pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^Uid:\\s${NODE_UID}\\s${NODE_UID}\\s`, 'm'));
    expect(status).toMatch(/^CapEff:\s0+$/m);
    expect(status).toMatch(/^CapBnd:\s0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s1$/m);
    const write = (path: string) => container.exec(['touch', path]);
    expect((await write('/app/here')).output).toContain('Read-only file system');
    expect(await write('/tmp/here')).toMatchObject({ status: 0 });
    expect(await write(join(image.volume, 'here'))).toMatchObject({ status: 0 });
    const { uid, mode } = await stat(container.volume);
    expect([uid, mode & 0o777]).toEqual([NODE_UID, 0o700]);
  });

  test('delivers what it is fed', async () => {
    await feed(port, [EXAMPLE]);
    await vi.waitFor(() => expect(unwrap(received).spans).toHaveLength(27), WAIT);
  });

  test('exits with status 0 on SIGTERM, and its store is in the volume', async () => {
    expect(await container.stop()).toBe(0);
    expect(existsSync(join(container.volume, 'data.mdb'))).toBe(true);
  });
});
