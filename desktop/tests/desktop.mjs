// What the browser tests stand on: the desktop, a browser, and the ferry command to look facts up with.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { chromium } from 'playwright-core';

const FERRY = process.env.FERRY ?? 'ferry';

/** Runs a command of ferry; its output. */
export function ferry(...words) {
  return execFileSync(FERRY, words, { encoding: 'utf8' }).trim();
}

/** Waits until something holds. */
export async function eventually(what, probe) {
  const limit = Date.now() + 20_000;
  for (;;) {
    let value;
    let reason = '';
    try {
      value = await probe();
    } catch (error) {
      // What is looked at may not be there yet.
      reason = `: ${error.message}`;
    }
    if (value) return value;
    if (Date.now() > limit) throw new Error(`never: ${what}${reason}`);
    await new Promise((later) => setTimeout(later, 50));
  }
}

export function browserPath() {
  return [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => path && existsSync(path));
}

/** Serves the page's files from a folder (`desktop/dist`) instead of the binary: no Rust build between two tries. */
async function fresh(context, folder) {
  const kinds = { js: 'text/javascript', css: 'text/css' };
  await context.route(/\/(app|views|korean|terminal)\.(js|css)$/, (route) => {
    const name = basename(new URL(route.request().url()).pathname);
    return route.fulfill({ contentType: kinds[name.split('.').pop()], body: readFileSync(join(folder, name)) });
  });
}

/** A desktop and a browser that is logged in to it. Everything that the page complains of is in `wrong`. */
export async function open(options = {}) {
  const server = spawn(FERRY, ['desktop', '--no-open', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((found, gone) => {
    let text = '';
    server.stdout.on('data', (piece) => {
      text += piece;
      const address = /http:\S+/.exec(text);
      if (address) found(address[0]);
    });
    server.on('exit', () => gone(new Error('the desktop ended')));
  });
  const browser = await chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', acceptDownloads: true, ...options });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  if (process.env.ASSETS) await fresh(context, process.env.ASSETS);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const wrong = [];
  const origin = new URL(url).origin;
  page.on('console', (message) => {
    // The browser tells of every answer that is an error; tests cause some on purpose.
    if (['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource')) wrong.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.push(String(error.stack)));
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(origin)) wrong.push(`a request to ${request.url()}`);
  });
  const visit = async (...words) => {
    await page.goto(`${origin}/#/${words.map(encodeURIComponent).join('/')}`);
    await page.waitForSelector('main h1');
  };
  const close = async () => {
    await browser.close();
    server.kill();
  };
  await page.goto(url);
  await page.waitForSelector('main h1');
  return { page, context, browser, server, origin, url, wrong, visit, close };
}

/** What the tests say of a page: steps that are told as they end, and where things are. */
export function steps(page, wrong, close) {
  let done = 0;
  const step = async (name, work) => {
    const started = Date.now();
    try {
      await work();
    } catch (error) {
      await page.screenshot({ path: process.env.FAILED_SHOT ?? '/tmp/ferry-desktop-failed.png' });
      console.error(`FAILED: ${name}\n${error.stack}\n${wrong.join('\n')}`);
      await close();
      process.exit(1);
    }
    done += 1;
    console.log(`ok ${done} ${name} (${Date.now() - started} ms)`);
  };
  return {
    step,
    count: () => done,
    row: (name) => page.locator('[role="row"][data-row]', { hasText: name }),
    button: (name, inside = page) => inside.getByRole('button', { name, exact: true }),
    toast: (text) => page.locator('.toast', { hasText: text }).first().waitFor(),
    dialog: page.locator('dialog[open]'),
    state: (name) => ferry('inspect', '-f', '{{.State.Status}}', name),
    id: (name) => ferry('inspect', '-f', '{{.Id}}', name),
  };
}
