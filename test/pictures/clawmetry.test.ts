/**
 * The pictures of docs/images: a real ClawMetry that was sent the example with sub-agents, as a browser shows it, cut to what
 * is told of it. What shall be in a picture is looked for first, so that none is made of an empty page.
 */
import { join } from 'node:path';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EXAMPLE, replay } from '../integration/bridge.js';
import { type ClawMetry, startClawMetry } from '../integration/clawmetry.js';
import { REPOSITORY } from '../integration/installed.js';

const VIEWPORT = { width: 1500, height: 1300 };
const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';

async function save(what: Locator, name: string): Promise<void> {
  // Nothing is lit up because the pointer is on it.
  await what.page().mouse.move(0, 0);
  await what.screenshot({ path: join(REPOSITORY, `docs/images/${name}.png`), animations: 'disabled' });
}

describe('ClawMetry', () => {
  let clawmetry: ClawMetry;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    clawmetry = await startClawMetry();
    const { status } = await replay(`clawmetry=${clawmetry.otlp_url}`, EXAMPLE);
    expect(status).toBe(0);
    browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] });
    page = await browser.newPage({ viewport: VIEWPORT, timezoneId: 'UTC', locale: 'en-GB' });
    await page.goto(clawmetry.otlp_url);
    // It asks who one is; this is the answer for those who have no account. Then it loads the page again.
    const reloaded = page.waitForEvent('load');
    await page.click('#obg-free-btn');
    await reloaded;
    // What is of no account here: a chart of the last hour, and a button with a sign that few fonts have.
    await page.addStyleTag({ content: '.brain-density-wrap, #brain-focus-btn { display: none }' });
  });
  afterAll(async () => {
    await browser?.close();
    await clawmetry?.stop();
  });

  const open = (tab: string) => page.goto(`${clawmetry.otlp_url}/#${tab}`);

  test('the tree of the trace, and what is known of a model call', async () => {
    await open('tracing');
    await page.locator('#trace-rows').getByText('invoke_agent main').click();
    const names = page
      .locator('#trace-treegantt')
      .getByText(/^(invoke_agent|agent\.spawn|chat|execute_tool)/);
    await expect.poll(() => names.count()).toBe(27);
    // The first model call of the first sub-agent.
    await names.nth(5).click();
    const details = page.locator('#trace-span-pane');
    await details.getByText('Attributes').click();
    await expect.poll(() => details.textContent()).toContain('"gen_ai.usage.reasoning.output_tokens": 8');
    await save(page.locator('#trace-detail'), 'clawmetry-trace');
  });

  test('the Agent Graph', async () => {
    await open('agents');
    const graph = page.locator('#agent-graph-svg');
    await expect.poll(() => graph.locator('circle').count()).toBe(4);
    expect(await graph.locator('line').count()).toBe(3);
    await save(page.locator('#page-agents'), 'clawmetry-agent-graph');
  });

  test('the Live Feed', async () => {
    await open('brain');
    const rows = page.locator('#brain-stream').getByText(/^.*(TOOL_CALL|TOOL_RESULT|ERROR)$/);
    await expect.poll(() => rows.count()).toBe(20);
    await save(page.locator('#page-brain'), 'clawmetry-live-feed');
  });
});
