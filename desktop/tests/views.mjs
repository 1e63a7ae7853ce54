// Every view of the page as those see it who read Korean, have a small screen or no mouse, or another engine. Run by the scenarios
// `desktop::every_view` and `desktop::against_docker::every_view`, or by hand:
// FERRY=target/debug/ferry DOCKER_HOST=unix:///… node desktop/tests/views.mjs   (the engine has the image `busybox`)
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { eventually, ferry, open, steps } from './desktop.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { page, context, browser, origin, wrong, visit, close } = await open();
const { step, row, button, toast, state, id, count } = steps(page, wrong, close);
const names = ['views-web', 'views-db', 'views-done'];
const clean = () => spawnSync(process.env.FERRY ?? 'ferry', ['rm', '-fv', ...names], { stdio: 'ignore' });
const cleanAll = () => {
  clean();
  for (const [kind, name] of [['network', 'views-net'], ['volume', 'views-data']]) spawnSync(process.env.FERRY ?? 'ferry', [kind, 'rm', name], { stdio: 'ignore' });
};
cleanAll();
process.on('exit', cleanAll);
ferry('network', 'create', 'views-net');
const labels = (service) => ['--label', 'com.docker.compose.project=views', '--label', `com.docker.compose.service=${service}`];
ferry('run', '-d', '--name', 'views-web', '--stop-timeout', '0', ...labels('web'), '--network', 'views-net', '-p', '127.0.0.1::80', '-v', 'views-data:/data', 'busybox', 'sh', '-c', 'echo one said; exec sleep 100000');
ferry('run', '-d', '--name', 'views-db', '--stop-timeout', '0', ...labels('db'), '--network', 'views-net', '--health-cmd', 'echo 좋음', '--health-interval', '1s', 'busybox', 'sleep', '100000');
spawnSync(process.env.FERRY ?? 'ferry', ['run', '--name', 'views-done', 'busybox', 'sh', '-c', 'exit 7']);
const image = ferry('inspect', '--type', 'image', '-f', '{{.Id}}', 'busybox');
const web = id('views-web');
/** The address of every view, and whether it has rows to wait for. */
const VIEWS = [['overview'], ['containers'], ...['logs', 'terminal', 'stats', 'files', 'details', 'inspect'].map((tab) => ['containers', web, tab]), ['containers', id('views-db'), 'details'], ['containers', id('views-done')], ['images'], ['images', image], ['builds'], ['volumes'], ['volumes', 'views-data'], ['networks'], ['networks', ferry('network', 'inspect', '-f', '{{.Id}}', 'views-net')], ['compose'], ...['services', 'logs', 'composeFile', 'plan'].map((tab) => ['compose', 'views', tab]), ['registries'], ['events'], ['settings']];
/** Waits until nothing is loaded any more. */
const settled = () => eventually('it is drawn', async () => (await page.locator('main h1').count()) > 0 && (await page.locator('main .loading').count()) === 0);
async function look(theme, language, width) {
  await page.setViewportSize({ width, height: 800 });
  await page.evaluate((chosen) => Object.assign(localStorage, chosen), { theme, language });
  await page.reload();
}

await step('every view has what the engine has', async () => {
  for (const view of VIEWS) {
    await visit(...view);
    await settled();
    assert.equal(await page.locator('main .notice.failed:not(:has(.why))').count(), 0, view.join('/'));
  }
  await visit('overview');
  await page.getByText(ferry('info', '-f', '{{.Name}}'), { exact: true }).waitFor();
  await eventually('as many run as the engine says', () => page.getByText(ferry('info', '-f', '{{.ContainersRunning}} of {{.Containers}} running')).isVisible());
  await page.locator('.busiest li').first().waitFor();
  await visit('containers');
  for (const name of names) await row(name).waitFor();
  await visit('containers', web, 'logs');
  await page.locator('.log-line', { hasText: 'one said' }).waitFor();
  await visit('containers', web, 'files');
  await button('etc').click();
  await button('hostname').waitFor();
  await visit('containers', web, 'stats');
  await page.locator('.chart svg[aria-label^="Memory"]').waitFor();
  await visit('containers', id('views-db'), 'details');
  await page.locator('.probes li', { hasText: '좋음' }).first().waitFor();
  await visit('containers', id('views-done'));
  await page.getByText('Ended with code 7').waitFor();
  await visit('volumes');
  await row('views-data').getByRole('link', { name: 'views-web' }).waitFor();
  await visit('volumes', 'views-data');
  await button('Browse').click();
  await page.getByRole('link', { name: 'Export' }).waitFor();
  await visit('networks');
  await page.locator('.picture-name', { hasText: 'views-net' }).waitFor();
  await visit('compose', 'views', 'logs');
  await page.locator('.log-line', { hasText: 'one said' }).waitFor();
  await visit('events');
  await row('views-done').first().waitFor();
});

await step('what is done in it is done by any engine', async () => {
  await visit('containers', web, 'terminal');
  await page.locator('.xterm').waitFor();
  await eventually('a prompt', async () => (await page.locator('.xterm-rows').innerText()).includes('#'));
  await page.keyboard.type('echo typed > /tmp/typed\n');
  await eventually('it is written', () => ferry('exec', 'views-web', 'cat', '/tmp/typed') === 'typed');
  await visit('containers', web, 'files');
  await button('tmp').click();
  await page.locator('input[type=file]').setInputFiles({ name: 'brought', mimeType: 'text/plain', buffer: Buffer.from('up') });
  await toast('brought in');
  assert.equal(ferry('exec', 'views-web', 'cat', '/tmp/brought'), 'up');
  await visit('containers');
  for (const [verb, after] of [['Stop', 'exited'], ['Start', 'running']]) {
    await button(`${verb} views-web`).click();
    await eventually(after, () => state('views-web') === after);
    await button(`${verb === 'Stop' ? 'Start' : 'Stop'} views-web`).waitFor();
  }
});

await step('Korean is Korean everywhere', async () => {
  await look('light', 'ko', 1280);
  // Names of things and of standards, and what is the engine's own.
  const known = /\b(Ferry|ferry|Compose|Dockerfile|CPU|PID|API|ID|IPv6|MAC|stdout|stderr|Ctrl|Enter|Space|English|JSON|up|diff|daemon\.json|kill|HUP|bridge|compose\.yaml|desktop|docker|login|Docker|Hub|I\/O|[kKMG]i?B|B|ms|s|h|min|cgroup|Cgroup|KiB|views(?:-\w+)?)\b/g;
  const found = new Set();
  const open = { images: '.view-head .primary', networks: '.view-head .primary', registries: '.view-head .primary', compose: '.view-head button', containers: '.nav-search', volumes: '.view-head button' };
  for (const view of VIEWS) {
    await visit(...view);
    await settled();
    for (const click of [undefined, view.length === 1 ? open[view[0]] : undefined]) {
      if (click) await page.locator(click).first().click();
      else if (view.length === 1 && open[view[0]]) await page.waitForTimeout(100);
      const texts = await page.evaluate(() => {
        // What people, programs and the engine have written is not the page's.
        const DATA = 'code, pre, kbd, .mono, .name, .log, .screen, .crumbs, option, svg, [lang=en], dd a, .setting h2, .setting-value, .probes, .reach-list, .group-title, .busiest, .ports, .palette li, .picture, .events-action, .subhead span:first-child, .plain, .long-facts dt, .buttons li, a[href^="#/containers/"].button, h1, .card h2 a';
        const all = [];
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walk.nextNode(); node; node = walk.nextNode()) {
          const at = node.parentElement;
          if (at.closest(DATA) || !at.checkVisibility()) continue;
          if (at.closest('[role=row][data-row], dd')) continue;
          all.push(node.data);
        }
        for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
          if (element.closest('[role=row][data-row], .palette li, .picture, .log, .screen')) continue;
          for (const name of ['aria-label', 'title', 'placeholder']) all.push(element.getAttribute(name) ?? '');
        }
        return all;
      });
      for (const text of texts) {
        const left = text.replace(/ferry [a-z].*|[0-9a-f]{12}|[a-z.]+:[\w/.-]+|\/[\w/.-]+|NAME=value|ghcr\.io\S*|localhost\S*|nginx|docker\.io/g, '').replace(known, '');
        if (/[A-Za-z]{2}/.test(left)) found.add(`${view[0]}/${view[2] ?? ''}: ${text.trim()}`);
      }
      if (click) await page.keyboard.press('Escape');
    }
  }
  assert.deepEqual([...found], []);
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'ko');
});

await step('axe finds nothing in dialogs and menus, either', async () => {
  const found = [];
  const opened = [['overview', '.rooms button'], ['containers', '.nav-search'], ['containers', '.row-actions [aria-haspopup]'], ['containers', '.list-head input'], ['images', '.view-head .primary'], ['images', '.row-actions button'], ['images', '.view-head button'], ['volumes', '.view-head .primary'], ['networks', '.view-head .primary'], ['registries', '.view-head .primary'], ['compose', '.view-head button']];
  for (const theme of ['light', 'dark']) {
    await look(theme, 'en', 1280);
    for (const [view, click] of opened) {
      await visit(view);
      await settled();
      await page.locator(click).first().click();
      await page.waitForTimeout(250);
      const result = await page.evaluate(`${axe}; axe.run({ resultTypes: ['violations'] })`);
      for (const { id: rule, nodes } of result.violations) found.push(`${theme} ${view} ${click}: ${rule}: ${nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(' | ')}`);
      await page.reload();
    }
  }
  assert.deepEqual(found, []);
});

await step('nothing is cut off where there is little room', async () => {
  const found = [];
  for (const [language, width] of [['en', 360], ['ko', 360], ['en', 820]]) {
    await look('dark', language, width);
    for (const view of VIEWS) {
      await visit(...view);
      await settled();
      const cut = await page.evaluate(() => {
        const main = document.querySelector('main');
        const bad = main.scrollWidth > main.clientWidth + 1 ? ['the page is wider than the window'] : [];
        for (const element of main.querySelectorAll('button, h1, h2, label, dt, .tabs a, a.button, p')) {
          if (!element.checkVisibility() || element.closest('.log, .screen, .list-row, .unseen')) continue;
          const box = element.getBoundingClientRect();
          if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline') bad.push(`cut: ${element.textContent}`);
          if (box.right > innerWidth + 1 && !element.closest('.tabs, .picture-scroll, pre')) bad.push(`beyond the edge: ${element.textContent}`);
        }
        return bad;
      });
      found.push(...cut.map((text) => `${language} ${width} ${view[0]}/${view[2] ?? ''}: ${text}`));
    }
  }
  assert.deepEqual(found, []);
  // The sections are behind a button there.
  await look('light', 'en', 360);
  await visit('containers');
  await button('Menu').click();
  await page.getByRole('navigation').getByRole('link', { name: 'Images' }).click();
  await page.getByRole('heading', { name: 'Images', exact: true }).waitFor();
  await look('light', 'en', 1280);
});

await step('by keyboard alone: find, open, look, stop, start, and back', async () => {
  const keys = async (...all) => {
    for (const key of all) await page.keyboard.press(key);
  };
  const focus = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
  const tabTo = async (what, most = 40) => {
    for (let presses = 0; presses < most; presses += 1) {
      if (what.test(await focus())) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`no Tab leads to ${what}; it is at ${await focus()}`);
  };
  await visit('overview');
  await page.evaluate(() => document.activeElement.blur());
  await keys('Control+k');
  await page.keyboard.type('containers');
  await keys('Enter');
  await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
  await keys('/');
  await page.keyboard.type('views-web');
  await eventually('only one is left', async () => (await page.locator('[data-row]').count()) === 1);
  await tabTo(/^Stop views-web$/);
  await keys('Enter');
  await eventually('it is stopped', () => state('views-web') === 'exited');
  await row('views-web').getByText('Exited').waitFor();
  // Into a menu, along it, and out of it with the focus where it was.
  await tabTo(/^Actions for views-web$/);
  await keys('Enter');
  await page.getByRole('menu').waitFor();
  await keys('Escape');
  assert.equal(await focus(), 'Actions for views-web');
  await page.locator('[data-row]').first().focus();
  await keys('Space');
  await page.getByText('1 selected').waitFor();
  await keys('Enter');
  await page.getByRole('heading', { name: 'views-web' }).waitFor();
  await tabTo(/^Start$/);
  await keys('Enter');
  await eventually('it runs', () => state('views-web') === 'running');
  await tabTo(/^Logs$/);
  await keys('ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight');
  await page.getByRole('tab', { name: 'Details', selected: true }).waitFor();
  // A dialog keeps the focus inside, and gives it back.
  await page.evaluate(() => document.querySelector('h1').scrollIntoView());
  await page.locator('.view-head .danger').focus();
  await keys('Enter');
  await page.locator('dialog[open]').waitFor();
  for (let presses = 0; presses < 8; presses += 1) {
    await keys('Tab');
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null), await focus());
  }
  await keys('Escape');
  await eventually('the focus is back', async () => (await focus()) === 'Remove');
});

await step('times are the reader’s', async () => {
  const far = await browser.newContext({ timezoneId: 'Asia/Seoul', locale: 'ko-KR', storageState: await context.storageState() });
  const other = await far.newPage();
  await other.goto(`${origin}/#/containers/${web}/logs`);
  const shown = await other.locator('.log-line', { hasText: 'one said' }).first().locator('.log-time').innerText();
  const [written] = ferry('logs', '-t', 'views-web').split(' ');
  const there = new Date(Date.parse(written) + 9 * 3_600_000).toISOString();
  assert.equal(shown, there.slice(11, 23));
  await other.goto(`${origin}/#/containers/${web}/details`);
  const begun = new Date(Date.parse(ferry('inspect', '-f', '{{.State.StartedAt}}', 'views-web')) + 9 * 3_600_000);
  const hour = begun.getUTCHours();
  const words = `${hour % 12 || 12}:${String(begun.getUTCMinutes()).padStart(2, '0')}:${String(begun.getUTCSeconds()).padStart(2, '0')}`;
  await other.locator('dd', { hasText: words }).first().waitFor();
  await far.close();
});

await step('another page in the same browser can do nothing', async () => {
  // The same name and another port: the browser sends the cookie along, since cookies know no ports.
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>elsewhere</title>');
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const elsewhere = await context.newPage();
  await elsewhere.goto(`http://127.0.0.1:${server.address().port}/`);
  const tried = await elsewhere.evaluate(async ([desktop, container]) => {
    const socket = (address) =>
      new Promise((told) => {
        const line = new WebSocket(address);
        line.onopen = () => told('opened');
        line.onerror = () => told('refused');
      });
    const ask = (path, init) => fetch(`${desktop}${path}`, { credentials: 'include', ...init }).then((answer) => answer.type, () => 'refused');
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: `${desktop}/api/containers/${container}/kill`, target: 'frame' });
    const frame = document.createElement('iframe');
    frame.name = 'frame';
    document.body.append(frame, form);
    form.submit();
    await new Promise((loaded) => (frame.onload = loaded));
    return [await ask('/api/containers/json'), await ask(`/api/containers/${container}/stop?t=0`, { method: 'POST', mode: 'no-cors' }), await socket(`${desktop.replace('http', 'ws')}/stream`)];
  }, [origin, web]);
  assert.deepEqual(tried, ['refused', 'refused', 'refused']);
  assert.equal(state('views-web'), 'running');
  await elsewhere.close();
  server.close();
  // The page's own stream and request do what those did not.
  const own = await page.evaluate(async (container) => {
    const opened = await new Promise((told) => {
      const line = new WebSocket(`${location.origin.replace('http', 'ws')}/stream`);
      line.onopen = () => told(true);
      line.onerror = () => told(false);
    });
    return [opened, (await fetch(`/api/containers/${container}/stop?t=0`, { method: 'POST' })).status];
  }, web);
  assert.deepEqual(own, [true, 204]);
  assert.equal(state('views-web'), 'exited');
});

// axe is put into the page, past its policy; what it complains of is not the page's.
assert.deepEqual(wrong.filter((line) => !line.includes('axe')), [], 'the page complained, or asked another host');
console.log(`${count()} looks at every view`);
await close();
