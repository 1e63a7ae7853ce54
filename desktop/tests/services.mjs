// Drives the desktop with nginx, PostgreSQL and redis behind it. Run by the scenario `desktop::services_in_a_browser`, or by hand:
// FERRY=target/debug/ferry DOCKER_HOST=unix:///… node desktop/tests/services.mjs   (the daemon has the image `services`, of Debian's packages)
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, ferry, open, steps } from './desktop.mjs';

const { page, origin, wrong, visit, close } = await open();
const { step, row, button, toast, dialog, state, id, count } = steps(page, wrong, close);
/** What a command in a container says. */
const inside = (name, ...words) => ferry('exec', name, ...words);
const field = (name) => dialog.getByLabel(name, { exact: true });
const screen = page.locator('.screen:not([hidden]) .xterm');
const shown = () => screen.locator('.xterm-rows').innerText();
const shows = (what, words) => eventually(what, async () => words.test(await shown()));

async function terminal(name) {
  await visit('containers', id(name), 'terminal');
  await screen.waitFor();
  await shows('a prompt', /[#$] /);
}

await step('networks: one is made for the three', async () => {
  await visit('networks');
  await button('New network').click();
  await dialog.getByLabel('Name', { exact: true }).fill('shopnet');
  await button('Create', dialog).click();
  await page.locator('.picture-name', { hasText: 'shopnet' }).waitFor();
});

await step('nginx: run from its image with a published port, and it answers there', async () => {
  await visit('images');
  await button('Run services:latest').click();
  await field('Name').fill('web');
  await field('Ports').fill('127.0.0.1::80');
  await field('Command').fill(`sh -c "ln -sf /dev/stdout /var/log/nginx/access.log; exec nginx -g 'daemon off;'"`);
  await dialog.getByRole('combobox', { name: 'Network' }).selectOption('shopnet');
  await field('Memory limit').fill('128m');
  await dialog.getByText('ferry run -d --name web -p 127.0.0.1::80 -m 128m --network shopnet services:latest').waitFor();
  await button('Run', dialog).click();
  await page.getByRole('heading', { name: 'web', exact: true }).waitFor();
  const address = ferry('port', 'web', '80/tcp');
  const answer = await eventually('nginx answers', async () => (await fetch(`http://${address}/from-outside`)).status);
  assert.equal(answer, 404);
  await page.locator('.log-line', { hasText: '/from-outside' }).waitFor();
  await visit('containers');
  await row('web').getByText(address.split(':')[1]).waitFor();
});

await step('PostgreSQL: run with a volume and a user, asked with psql in a terminal, and it keeps its rows', async () => {
  ferry('run', '--rm', '-v', 'rows:/data', 'services', 'chown', 'postgres', '/data');
  await visit('images');
  await button('Run services:latest').click();
  await field('Name').fill('db');
  await field('User').fill('postgres');
  await field('Volumes').fill('rows:/data');
  await dialog.getByRole('combobox', { name: 'Network' }).selectOption('shopnet');
  await field('Command').fill('sh -c "b=$(ls -d /usr/lib/postgresql/*/bin); [ -s /data/PG_VERSION ] || $b/initdb -A trust /data; exec $b/postgres -D /data -k /tmp"');
  await button('Run', dialog).click();
  await page.locator('.log-line', { hasText: 'ready to accept connections' }).waitFor({ timeout: 60_000 });
  await terminal('db');
  await page.keyboard.type('psql -h /tmp\n');
  await shows('psql asks', /postgres=# /);
  await page.keyboard.type('create table fruit as select name from (values (\'fig\'), (\'quince\')) t(name);\n');
  await shows('it is done', /SELECT 2/);
  await page.keyboard.type('select count(*) from fruit;\n');
  await shows('a table', /\(1 row\)/);
  await page.keyboard.type('\\q\n');
  await visit('containers', id('db'));
  await button('Restart').click();
  await toast('Restarted db');
  const rows = await eventually('it is back', () => inside('db', 'psql', '-h', '/tmp', '-Atc', 'select string_agg(name, $$,$$ order by name) from fruit'));
  assert.equal(rows, 'fig,quince');
  await visit('volumes');
  await row('rows').getByRole('link', { name: 'db' }).waitFor();
});

await step('redis: reached by name once the page has connected it, and held by a pause', async () => {
  ferry('run', '-d', '--name', 'cache', '--health-cmd', 'redis-cli ping', '--health-interval', '300ms', 'services', 'redis-server', '--protected-mode', 'no', '--save', '');
  await visit('containers');
  await row('cache').getByText('healthy', { exact: true }).waitFor();
  assert.throws(() => inside('web', 'getent', 'hosts', 'cache'));
  await visit('networks', ferry('network', 'inspect', '-f', '{{.Id}}', 'shopnet'));
  await page.getByRole('combobox', { name: 'Containers' }).selectOption({ label: 'cache' });
  await button('Connect').click();
  await toast('Connected cache');
  assert.equal(inside('web', 'redis-cli', '-h', 'cache', 'set', 'fruit', 'medlar'), 'OK');
  await terminal('cache');
  await page.keyboard.type('redis-cli get fruit\n');
  await shows('its value', /"medlar"/);
  await visit('containers', id('cache'));
  await button('Pause').click();
  await toast('Paused cache');
  assert.equal(state('cache'), 'paused');
  await button('Resume').click();
  await toast('Resumed cache');
  assert.equal(inside('web', 'redis-cli', '-h', 'cache', 'get', 'fruit'), 'medlar');
});

await step('a terminal: vim, top, another size, what is pasted', async () => {
  await terminal('web');
  await page.keyboard.type('vim.tiny -u NONE /tmp/letter\n');
  await shows('vim', /~\n?~|"\/tmp\/letter"/);
  await page.keyboard.type('ifrom vim');
  await page.keyboard.press('Escape');
  await page.keyboard.type(':wq\n');
  assert.equal(await eventually('vim has written', () => inside('web', 'cat', '/tmp/letter')), 'from vim');
  await page.keyboard.type('clear; top\n');
  await shows('top', /Tasks:[\s\S]*nginx/);
  assert.match(await shown(), /TIME\+ COMMAND/);
  await page.setViewportSize({ width: 900, height: 700 });
  await eventually('top draws fewer columns', async () => /TIME\+(?! COMMAND)/.test(await shown()));
  await page.keyboard.press('q');
  // What is typed before it has ended is its own.
  await eventually('top has ended', async () => /[#$]\s*$/.test(await shown()));
  await page.keyboard.type('echo back-$((1 + 1))\n');
  await shows('the shell again', /back-2/);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.evaluate(() => navigator.clipboard.writeText('echo pasted-$((40 + 2))'));
  await page.keyboard.press('Shift+Insert');
  await page.keyboard.press('Enter');
  await shows('what was pasted', /pasted-42/);
});

await step('files: a server’s own is looked at and downloaded', async () => {
  await visit('containers', id('web'), 'files');
  await button('etc').click();
  await button('nginx').click();
  await button('nginx.conf').click();
  await dialog.getByText('worker_connections').waitFor();
  await button('Close', dialog).click();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download nginx.conf' }).click();
  assert.equal(readFileSync(await (await download).path(), 'utf8').trim(), inside('web', 'cat', '/etc/nginx/nginx.conf'));
});

await step('usage: the three are drawn, with what they did before', async () => {
  for (const name of ['web', 'db', 'cache']) {
    await visit('containers', id(name), 'stats');
    await page.locator('.chart svg[aria-label^="Memory"] polyline').first().waitFor({ state: 'attached' });
  }
  await visit('overview');
  await page.getByText('3 of 3 running').waitFor();
});

await step('an image: pushed and pulled, layer by layer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-desktop-'));
  const registry = spawn(process.env.FERRY ?? 'ferry', ['registry', 'serve', '--root', folder, '--addr', '127.0.0.1:5534'], { stdio: 'ignore' });
  process.on('exit', () => registry.kill());
  const name = '127.0.0.1:5534/team/services:v1';
  await eventually('the registry answers', () => fetch('http://127.0.0.1:5534/v2/').then(() => true));
  // One layer more than `services` has.
  ferry('commit', 'web', name);
  // Enough of them for a menu to lie over others.
  for (const number of [1, 2, 3, 4, 5, 6]) ferry('tag', 'services', `services:${number}`);
  await visit('images');
  await row('services:6').waitFor();
  await button(`Actions for ${name}`).click();
  await page.getByRole('menuitem', { name: 'Push' }).click();
  await button('Push', dialog).click();
  await dialog.locator('.layers-under li').first().waitFor();
  await button('Close', dialog.locator('footer')).waitFor({ timeout: 120_000 });
  await button('Close', dialog.locator('footer')).click();
  const tags = await (await fetch('http://127.0.0.1:5534/v2/team/services/tags/list')).json();
  assert.deepEqual(tags.tags, ['v1']);
  const before = ferry('image', 'inspect', '-f', '{{.Id}}', name);
  ferry('rmi', name);
  await row(name).waitFor({ state: 'detached' });
  await button('Pull').click();
  await dialog.getByLabel('Image', { exact: true }).fill(name);
  await button('Pull', dialog).click();
  await dialog.locator('.layers-under li').first().waitFor();
  await button('Close', dialog.locator('footer')).waitFor({ timeout: 120_000 });
  await button('Close', dialog.locator('footer')).click();
  assert.equal(ferry('image', 'inspect', '-f', '{{.Id}}', name), before);
  await row(name).waitFor();
  registry.kill();
  rmSync(folder, { recursive: true });
});

await step('clean up: what is listed first is what goes', async () => {
  ferry('rm', '-f', 'cache');
  ferry('create', '--name', 'spare', 'services', 'true');
  await visit('overview');
  await button('Clean up: Containers').click();
  await dialog.locator('.victims', { hasText: 'spare' }).waitFor();
  assert.equal(await dialog.locator('.victims', { hasText: 'web' }).count(), 0);
  await button('Remove 1', dialog).click();
  await eventually('it is gone', () => ferry('ps', '-aq', '--filter', 'name=spare') === '');
  assert.equal(state('web'), 'running');
});

assert.deepEqual(wrong, [], 'the page complained, or asked another host');
console.log(`${count()} flows of real services`);
await close();
