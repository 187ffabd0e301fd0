/** The files for Docker, as read by Docker's own libraries, and the promises about them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { EXECUTABLES, isSkipped, REPOSITORY } from './installed.js';
import { readShipped } from './stack.js';

const execute = promisify(execFile);

interface Volume {
  type: 'bind' | 'volume';
  source: string;
  target: string;
  read_only?: boolean;
}

interface Service {
  image?: string;
  build?: { dockerfile_inline?: string };
  cap_drop?: string[];
  security_opt?: string[];
  read_only?: boolean;
  tmpfs?: string[];
  ports?: { host_ip: string; target: number; published: string }[];
  volumes?: Volume[];
  environment?: Record<string, string>;
}

interface Found {
  error: { message: string } | null;
  warnings: { ruleName: string; detail: string }[] | null;
}

async function check<T>(
  kind: 'compose' | 'dockerfile',
  path: string,
  env: Record<string, string> = {},
): Promise<T> {
  const { stdout } = await execute(EXECUTABLES.compose, [kind, path], { env });
  return JSON.parse(stdout);
}

const readCompose = (env: Record<string, string>): Promise<{ services: Record<string, Service> }> =>
  check('compose', join(REPOSITORY, 'docker-compose.yml'), env);

async function checkText(text: string): Promise<Found> {
  const directory = await mkdtemp(join(tmpdir(), 'dockerfile-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'Dockerfile');
  await writeFile(path, text);
  return check('dockerfile', path);
}

const versionIn = (text: string, pattern: RegExp): string | undefined => pattern.exec(text)?.[1];

describe.skipIf(isSkipped('compose'))('docker-compose.yml', () => {
  let services: Record<string, Service>;
  beforeAll(async () => {
    ({ services } = await readCompose({ CLAWMETRY_TOKEN: 'a-token' }));
  });

  test('names the missing setting if there is no token', async () => {
    await expect(readCompose({})).rejects.toThrow(
      /CLAWMETRY_TOKEN is missing a value: a token of your choice/,
    );
  });

  test('publishes ports only on loopback', () => {
    const ports = Object.values(services).flatMap((service) => service.ports ?? []);
    expect(ports.length).toBeGreaterThan(6);
    expect(ports.filter(({ host_ip }) => host_ip !== '127.0.0.1')).toEqual([]);
    expect(new Set(ports.map(({ published }) => published)).size).toBe(ports.length);
  });

  test('gives no service privileges, and the bridge a read-only root file system', () => {
    for (const [name, service] of Object.entries(services)) {
      expect(service, name).toMatchObject({ cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
    }
    expect(services.bridge).toMatchObject({ read_only: true, tmpfs: ['/tmp'] });
  });

  test('pins the version of each image', () => {
    const images = Object.values(services).flatMap(({ image, build }) => (build === undefined ? image : []));
    expect(images).toHaveLength(4);
    for (const image of images) expect(image).toMatch(/:v?\d+\.\d+\.\d+$/);
  });

  test('mounts existing files, read-only', () => {
    const mounts = Object.values(services).flatMap(({ volumes = [] }) =>
      volumes.filter(({ type }) => type === 'bind'),
    );
    expect(mounts).toHaveLength(4);
    for (const { source, read_only } of mounts) {
      expect(existsSync(join(REPOSITORY, source)), source).toBe(true);
      expect(read_only, source).toBe(true);
    }
  });

  test('has the versions that are tested', async () => {
    const [install, packages] = await Promise.all([
      readShipped('test/integration/install.sh'),
      readShipped('package.json'),
    ]);
    expect(services.clawmetry?.build?.dockerfile_inline).toContain(
      `clawmetry==${versionIn(install, /^clawmetry_version=(.*)$/m)}`,
    );
    // Prometheus' Go module v0.313.0 is version 3.13.0.
    const [, minor = '', patch] = /^prometheus_version=v0\.3(\d+)\.(\d+)$/m.exec(install) ?? [];
    expect(services.prometheus?.image).toBe(`prom/prometheus:v3.${Number(minor)}.${patch}`);
    expect(services.grafana?.image).toBe(
      `grafana/grafana:${JSON.parse(packages).devDependencies['@grafana/schema']}`,
    );
  });

  test('mounts the dashboards where Grafana looks for them', async () => {
    const target = (source: string) =>
      services.grafana?.volumes?.find((each) => each.source.endsWith(source))?.target;
    expect(target('provisioning')).toBe('/etc/grafana/provisioning');
    expect(await readShipped('deploy/grafana/provisioning/dashboards/dashboards.yml')).toContain(
      `path: ${target('dashboards')}\n`,
    );
  });

  test('has a ClawMetry image without a BuildKit warning', async () => {
    const found = await checkText(services.clawmetry?.build?.dockerfile_inline ?? '');
    expect(found).toEqual({ error: null, warnings: null });
  });
});

describe.skipIf(isSkipped('compose'))('Dockerfile', () => {
  test('has no BuildKit warning', async () => {
    expect(await check('dockerfile', join(REPOSITORY, 'Dockerfile'))).toEqual({
      error: null,
      warnings: null,
    });
  });

  test("has the package's version and license", async () => {
    const { version, license } = JSON.parse(await readShipped('package.json'));
    const text = await readShipped('Dockerfile');
    expect(text).toContain(`org.opencontainers.image.version="${version}"`);
    expect(text).toContain(`org.opencontainers.image.licenses="${license}"`);
  });

  test('would get a warning for a mistake', async () => {
    expect(
      (await checkText('FROM node:24 as build\nWORKDIR app\n')).warnings?.map(({ ruleName }) => ruleName),
    ).toEqual(['FromAsCasing', 'WorkdirRelativePath']);
    expect((await checkText('FROM node:24\nCOPY --fro=build a b\n')).error?.message).toContain(
      'unknown flag: --fro',
    );
  });
});
