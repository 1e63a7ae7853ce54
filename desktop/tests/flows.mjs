// Drives the desktop in a browser against a daemon with real containers. Run by the scenario `desktop::in_a_browser`, or by hand:
// FERRY=target/debug/ferry DOCKER_HOST=unix:///… node desktop/tests/flows.mjs   (the daemon has the image `busybox`)
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, ferry, open, steps } from './desktop.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { page, context, origin, url, wrong, visit, close } = await open();
const { step, row, button, toast, dialog, state, id, count } = steps(page, wrong, close);

ferry('run', '-d', '--name', 'web', '--stop-timeout', '1', '--label', 'com.docker.compose.project=shop', '--label', 'com.docker.compose.service=web', '--label', 'com.docker.compose.depends_on=db:service_started:false', '-p', '127.0.0.1::80', '-e', 'API_TOKEN=hidden', '-v', 'site:/site', 'busybox', 'sh', '-c', 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i <b>bold</b>"; done; echo "ERROR needle" >&2; echo "<img src=x onerror=alert(1)>"; exec sleep 100000');
ferry('run', '-d', '--name', 'db', '--label', 'com.docker.compose.project=shop', '--label', 'com.docker.compose.service=db', '--health-cmd', 'true', '--health-interval', '500ms', 'busybox', 'sleep', '100000');
ferry('network', 'create', 'backend');
await eventually('the container that fails has ended', () => {
  try {
    ferry('run', '--name', 'failed', 'busybox', 'sh', '-c', 'exit 3');
  } catch {
    return true;
  }
});

await step('a used address lets nobody in', async () => {
  const other = await context.browser().newContext();
  const second = await other.newPage();
  const answer = await second.goto(url);
  assert.equal(answer.status(), 401);
  await other.close();
});

await step('scripts cannot read the cookie, and HTML cannot be made from text', async () => {
  assert.equal(await page.evaluate(() => document.cookie), '');
  const made = await page.evaluate(() => {
    try {
      document.body.innerHTML = '<b>x</b>';
      return 'made';
    } catch {
      return 'refused';
    }
  });
  assert.equal(made, 'refused');
  wrong.length = 0;
});

await step('the overview shows what runs and what it uses', async () => {
  await visit('overview');
  await page.getByText('2 of 3 running').waitFor();
  await page.locator('.busiest', { hasText: 'web' }).waitFor();
  await page.locator('.chart polyline').first().waitFor({ state: 'attached' });
});

await step('the list follows what is done elsewhere', async () => {
  await visit('containers');
  await row('web').waitFor();
  ferry('run', '-d', '--name', 'late', '--stop-timeout', '1', 'busybox', 'sleep', '1000');
  await row('late').getByText('Running').waitFor();
  ferry('kill', 'late');
  await row('late').getByText('Exited').waitFor();
});

await step('search, filters, groups', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('we');
  await eventually('only one is left', async () => (await page.locator('[data-row]').count()) === 1);
  await page.getByRole('searchbox').fill('');
  await button('Stopped').click();
  await eventually('two have ended', async () => (await page.locator('[data-row]').count()) === 2);
  await button('All').click();
  await page.getByLabel('Group by project').check();
  await page.getByRole('heading', { name: 'shop' }).waitFor();
  await page.getByLabel('Group by project').uncheck();
});

await step('start, pause, resume, restart, stop', async () => {
  await button('Start late').click();
  await toast('Started late');
  await page.locator('.toast code', { hasText: 'ferry start late' }).waitFor();
  for (const [verb, after, done] of [['Pause', 'paused', 'Paused'], ['Resume', 'running', 'Resumed'], ['Restart', 'running', 'Restarted'], ['Stop', 'exited', 'Stopped']]) {
    const direct = button(`${verb} late`);
    if ((await direct.count()) > 0) await direct.click();
    else {
      await button('Actions for late').click();
      await page.getByRole('menuitem', { name: verb }).click();
    }
    await toast(`${done} late`);
    await eventually(`late is ${after}`, () => state('late') === after);
    await row('late').getByText(after === 'exited' ? 'Exited' : after === 'paused' ? 'Paused' : 'Running').waitFor();
  }
});

await step('several at once: choose and remove', async () => {
  await page.getByLabel('Select late').check();
  await page.getByLabel('Select failed').check();
  await page.locator('.chosen').getByRole('button', { name: 'Remove' }).click();
  await dialog.getByText('ferry rm').waitFor();
  await button('Cancel', dialog).click();
  await page.getByLabel('Select failed').uncheck();
  await page.locator('.chosen').getByRole('button', { name: 'Remove' }).click();
  await button('Remove', dialog).click();
  await row('late').waitFor({ state: 'detached' });
});

await step('a log is text, searched, and its streams are apart', async () => {
  await visit('containers', id('web'), 'logs');
  await page.locator('.log-line', { hasText: '<img src=x onerror=alert(1)>' }).waitFor();
  assert.equal(await page.locator('.log img, .log b').count(), 0);
  await page.getByText('3,002 lines').waitFor();
  await page.getByRole('searchbox').fill('line 1234');
  await page.getByText('1 found').waitFor();
  await button('Next').click();
  await page.locator('.log-line.current', { hasText: 'line 1234' }).waitFor();
  await page.getByRole('searchbox').fill('');
  await button('stderr').click();
  await page.locator('.log-line.stderr.error', { hasText: 'needle' }).waitFor();
  await page.getByText(/^1 lines?$/).waitFor();
  const download = page.waitForEvent('download');
  await button('Download').click();
  assert.match(readFileSync(await (await download).path(), 'utf8'), /ERROR needle/);
  await button('Both').click();
});

await step('a long log: its end first, older lines as one scrolls up, all of it when asked for', async () => {
  ferry('run', '-d', '--name', 'long', '--stop-timeout', '0', 'busybox', 'sh', '-c', 'seq 40000 | sed "s/^/number /"; exec sleep 1000');
  await eventually('the log is written', () => ferry('logs', '-n', '1', 'long') === 'number 40000');
  await visit('containers', id('long'), 'logs');
  await page.locator('.log-line', { hasText: 'number 40000' }).waitFor();
  await page.getByText(/^5,000 lines/).waitFor();
  const first = () => page.locator('.log-line').first().innerText();
  await page.evaluate(() => (document.querySelector('.log').scrollTop = 0));
  await page.getByText(/^15,000 lines/).waitFor();
  // What was in sight is in sight still, and lines are in their order.
  assert.match(await first(), /number 3(49|50)\d\d$/);
  // A download has all of it, whatever is here so far.
  const whole = page.waitForEvent('download');
  await button('Download').click();
  assert.equal(readFileSync(await (await whole).path(), 'utf8').trim().split('\n').length, 40_000);
  await page.getByText('40,000 lines').waitFor();
  await visit('containers');
  await visit('containers', id('long'), 'logs');
  await page.getByText(/^5,000 lines/).waitFor();
  await button('Read all of it').click();
  await page.getByText('40,000 lines').waitFor();
  await page.evaluate(() => (document.querySelector('.log').scrollTop = 0));
  await eventually('the first line', async () => /number 1$/.test(await first()));
  await page.getByText('from the beginning').waitFor();
  // Searched is what is here; the rest on request.
  await visit('containers');
  await visit('containers', id('long'), 'logs');
  await page.getByText(/^5,000 lines/).waitFor();
  await page.getByRole('searchbox').fill('number 12345');
  await page.getByText('0 found').waitFor();
  await button('Search older lines, too').click();
  await page.getByText('1 found').waitFor();
  ferry('rm', '-f', 'long');
});

await step('a log is followed', async () => {
  await visit('containers', id('web'), 'logs');
  ferry('exec', 'web', 'sh', '-c', 'echo fresh news > /proc/1/fd/1');
  await page.locator('.log-line', { hasText: 'fresh news' }).waitFor();
});

await step('a terminal: keys, size, two tabs', async () => {
  await visit('containers', id('web'), 'terminal');
  const screen = page.locator('.screen:not([hidden]) .xterm');
  await screen.waitFor();
  await eventually('the prompt', async () => (await screen.locator('.xterm-rows').innerText()).includes('#'));
  await page.keyboard.type('echo $((6*7))-is; stty size > /tmp/size\n');
  await eventually('the answer', async () => (await screen.locator('.xterm-rows').innerText()).includes('42-is'));
  const before = await eventually('a size', () => ferry('exec', 'web', 'cat', '/tmp/size'));
  await page.setViewportSize({ width: 1000, height: 700 });
  await eventually('another size', async () => {
    await page.keyboard.type('stty size > /tmp/size\n');
    await page.waitForTimeout(150);
    return ferry('exec', 'web', 'cat', '/tmp/size') !== before;
  });
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.keyboard.type('vi /tmp/note\n');
  const mode = (letter) => async () => new RegExp(`${letter}\\s/tmp/note`).test(await screen.locator('.xterm-rows').innerText());
  await eventually('vi', mode('-'));
  await page.keyboard.type('ivi works');
  await eventually('vi takes text', mode('I'));
  await page.keyboard.press('Escape');
  // vi waits whether Escape is the beginning of another key.
  await eventually('vi takes commands', mode('-'));
  await page.keyboard.type(':wq\n');
  await eventually('vi has written', () => ferry('exec', 'web', 'cat', '/tmp/note').includes('vi works'));
  await button('New terminal').click();
  await eventually('two terminals', async () => (await page.locator('.terminal-tab').count()) === 2);
  ferry('pause', 'web');
  await page.getByText('The container is paused').waitFor();
  assert.equal(await page.locator('.terminal-tab').count(), 2, 'terminals stay');
  await page.reload();
  await page.getByText('Resume it to open a terminal in it').waitFor();
  ferry('unpause', 'web');
  await page.locator('.xterm').waitFor();
});

await step('files: browse, preview, upload, changes', async () => {
  await visit('containers', id('web'), 'files');
  await button('tmp').click();
  await button('note').click();
  await dialog.getByText('vi works').waitFor();
  await button('Close', dialog).click();
  await page.locator('input[type=file]').setInputFiles({ name: 'brought.txt', mimeType: 'text/plain', buffer: Buffer.from('from the browser') });
  await toast('brought in');
  assert.equal(ferry('exec', 'web', 'cat', '/tmp/brought.txt'), 'from the browser');
  await button('brought.txt').waitFor();
  await button('Changes').click();
  await row('/tmp/note').getByText('added').waitFor();
});

await step('details hide secrets; health; why it ended', async () => {
  await visit('containers', id('web'), 'details');
  await page.getByText('API_TOKEN').waitFor();
  assert.equal(await page.getByText('hidden', { exact: true }).count(), 0);
  await page.getByLabel('Show what looks secret').check();
  await page.getByText('hidden', { exact: true }).waitFor();
  await visit('containers', id('db'), 'details');
  await page.getByText('healthy', { exact: true }).first().waitFor();
  await visit('containers', id('failed'));
  await page.getByText('Ended with code 3').waitFor();
});

await step('usage of one container', async () => {
  await visit('containers', id('web'), 'stats');
  await page.locator('.chart svg[aria-label^="Memory"]').waitFor();
});

await step('images: run with options, history, layers, tag, remove', async () => {
  await visit('images');
  await button('Run busybox:latest').click();
  await dialog.getByLabel('Name', { exact: true }).fill('from-image');
  await dialog.getByLabel('Command', { exact: true }).fill("sh -c 'echo \"$GREETING\"; sleep 1000'");
  await dialog.getByLabel('Environment').fill('GREETING=hello there');
  await dialog.getByLabel('Memory limit').fill('64m');
  await dialog.getByText("ferry run -d --name from-image -e 'GREETING=hello there' -m 64m busybox:latest").waitFor();
  await button('Run', dialog).click();
  await page.getByRole('heading', { name: 'from-image' }).waitFor();
  await page.locator('.log-line', { hasText: 'hello there' }).waitFor();
  assert.equal(ferry('inspect', '-f', '{{.HostConfig.Memory}}', 'from-image'), String(64 << 20));
  await visit('images');
  await button('Actions for busybox:latest').click();
  await page.getByRole('menuitem', { name: 'Tag' }).click();
  await dialog.getByLabel('New name').fill('copy:v1');
  await button('Tag', dialog).click();
  await row('copy:v1').waitFor();
  await row('copy:v1').click();
  await button('Look into the layers').click();
  await page.getByText('Nothing is wasted').waitFor();
  await visit('images');
  // A menu is at its button, and above the rows below it.
  await button('Actions for copy:v1').click();
  const [under, menu] = [await button('Actions for copy:v1').boundingBox(), await page.locator('.menu').boundingBox()];
  assert.ok(Math.abs(under.y + under.height + 4 - menu.y) < 2 && Math.abs(under.x + under.width - menu.x - menu.width) < 2, JSON.stringify([under, menu]));
  await page.getByRole('menuitem', { name: 'Remove' }).click();
  await button('Remove', dialog).click();
  await row('copy:v1').waitFor({ state: 'detached' });
});

await step('a pull that fails says why', async () => {
  await button('Pull').click();
  await dialog.getByLabel('Image', { exact: true }).fill('127.0.0.1:1/nothing:here');
  await button('Pull', dialog).click();
  await dialog.locator('.notice.failed').waitFor();
  await button('Cancel', dialog).click();
});

await step('volumes: make, see users, browse, remove, prune with a preview', async () => {
  await visit('volumes');
  await button('New volume').click();
  await dialog.getByLabel('Name').fill('made-here');
  await button('Create', dialog).click();
  await row('made-here').getByText('unused').waitFor();
  await row('site').getByRole('link', { name: 'web' }).waitFor();
  await row('site').getByRole('link', { name: 'site' }).click();
  await page.getByRole('link', { name: 'Browse' }).click();
  await page.locator('.crumbs', { hasText: 'site' }).waitFor();
  await visit('volumes');
  await button('Clean up').click();
  await dialog.getByLabel('Also those with names').check();
  await dialog.locator('.victims', { hasText: 'made-here' }).waitFor();
  assert.equal(await dialog.locator('.victims', { hasText: 'site' }).count(), 0);
  await button('Remove 1', dialog).click();
  await row('made-here').waitFor({ state: 'detached' });
});

await step('volumes: one that nobody uses is looked into and exported', async () => {
  ferry('run', '--rm', '-v', 'lonely:/v', 'busybox', 'sh', '-c', 'mkdir /v/deep; echo treasure > /v/deep/chest');
  await visit('volumes', 'lonely');
  await button('Browse').click();
  await button('deep').click();
  await button('chest').click();
  await dialog.getByText('treasure').waitFor();
  await page.keyboard.press('Escape');
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Export' }).click();
  const names = execFileSync('tar', ['tf', await (await download).path()], { encoding: 'utf8' });
  assert.match(names, /deep\/chest/);
  await visit('volumes');
  await eventually('nothing of the look is left', () => ferry('ps', '-aq', '--filter', 'label=ferry.desktop.volume') === '');
  ferry('volume', 'rm', 'lonely');
});

await step('volumes: snapshots, back to one, and a clone', async () => {
  const said = (volume) => ferry('run', '--rm', '-v', `${volume}:/v`, 'busybox', 'cat', '/v/said');
  ferry('run', '--rm', '-v', 'kept:/v', 'busybox', 'sh', '-c', 'echo before > /v/said');
  await visit('volumes', 'kept');
  await page.getByText('None yet. A snapshot').waitFor();
  await button('Take a snapshot').click();
  const taken = page.locator('.snapshots li');
  await taken.waitFor();
  const [name] = ferry('volume', 'snapshot', '--ls', 'kept').split('  ').slice(-1);
  await taken.getByText(name).waitFor();
  ferry('run', '--rm', '-v', 'kept:/v', 'busybox', 'sh', '-c', 'echo after > /v/said');
  await button('Clone').click();
  await dialog.getByLabel('Name', { exact: true }).fill('kept-twin');
  await button('Clone', dialog).click();
  await page.getByRole('heading', { name: 'kept-twin', exact: true }).waitFor();
  assert.equal(said('kept-twin'), 'after');
  await visit('volumes', 'kept');
  await button(`Restore ${name}`).click();
  await dialog.getByText('What is in the volume now is lost').waitFor();
  await button('Restore', dialog).click();
  await page.getByText('Restored kept').waitFor();
  assert.equal(said('kept'), 'before');
  await button(`Remove ${name}`).click();
  await button('Remove', dialog).click();
  await taken.waitFor({ state: 'detached' });
  assert.equal(ferry('volume', 'snapshot', '--ls', 'kept'), '');
  await visit('volumes');
  ferry('volume', 'rm', 'kept', 'kept-twin');
});

await step('networks: picture, connect, disconnect', async () => {
  await visit('networks');
  await page.locator('.picture-name', { hasText: 'backend' }).waitFor();
  await visit('networks', ferry('network', 'inspect', '-f', '{{.Id}}', 'backend'));
  await page.getByRole('combobox', { name: 'Containers' }).selectOption({ label: 'db' });
  await button('Connect').click();
  await button('Disconnect').click();
  await toast('Disconnected db');
});

await step('compose: services, all logs', async () => {
  await visit('compose');
  await page.locator('.picture-name', { hasText: 'web' }).waitFor();
  await page.getByRole('link', { name: 'Logs of all' }).click();
  await page.locator('.log-name', { hasText: 'web' }).first().waitFor();
});

await step('compose: a file that was never up: file, plan, up, plan, down, and it stays in the list', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-desktop-'));
  const file = join(folder, 'compose.yaml');
  writeFileSync(file, 'name: bay\nservices:\n  boat:\n    image: busybox\n    command: sleep 1000\n    depends_on: [pier]\n    stop_grace_period: 0s\n  pier:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    healthcheck: {test: ["CMD", "true"], interval: 1s}\n');
  await visit('compose');
  await button('Open a file').click();
  await dialog.getByLabel('Path of the file').fill(file);
  await button('Open a file', dialog).click();
  await page.locator('pre.source', { hasText: 'stop_grace_period' }).waitFor();
  await button('As Compose reads it').click();
  await page.locator('pre.source', { hasText: 'condition: service_started' }).waitFor();
  await page.getByRole('tab', { name: 'Plan' }).click();
  await page.locator('.plan .create', { hasText: 'boat-1' }).waitFor();
  await button('Up').click();
  await dialog.getByText('Done', { exact: true }).waitFor();
  await dialog.locator('pre', { hasText: 'boat-1' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(state(ferry('ps', '-q', '--filter', 'name=boat-1')), 'running');
  await page.getByText('Nothing would change').waitFor();
  await page.getByRole('tab', { name: 'Services' }).click();
  await page.locator('.picture-name', { hasText: 'pier' }).waitFor();
  await button('Down').click();
  await dialog.getByText('Volumes stay').waitFor();
  await button('Down', dialog).click();
  await dialog.getByText('Done', { exact: true }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(ferry('ps', '-aq', '--filter', 'name=boat-1'), '');
  await visit('compose');
  await page.getByText('not up').waitFor();
  await button('Forget').click();
  await page.getByText('not up').waitFor({ state: 'detached' });
  rmSync(folder, { recursive: true });
});

await step('builds: history, time line, what came from the cache, output, the failing line', async () => {
  const build = (tag, text) => spawnSync(process.env.FERRY ?? 'ferry', ['build', '-q', '-t', tag, '-'], { input: text });
  const good = 'FROM busybox\nRUN echo said by a step; sleep 0.2\n';
  build('built:1', good);
  build('built:2', good);
  build('broken', 'FROM busybox\nRUN echo before\nRUN echo nearly; exit 9\n');
  await visit('builds');
  await row('broken').getByText('Failed').waitFor();
  await row('built:1').getByText('Done').waitFor();
  await row('broken').click();
  await page.locator('.excerpt .at-fault', { hasText: 'exit 9' }).waitFor();
  await page.locator('.build-step.failed .step-log', { hasText: 'nearly' }).waitFor();
  await visit('builds');
  await row('built:2').click();
  await page.locator('.build-step.cached', { hasText: 'said by a step' }).getByText('cached', { exact: true }).waitFor();
  await visit('builds');
  await row('built:1').click();
  await page.locator('.step-line', { hasText: 'said by a step' }).click();
  await page.locator('.step-log', { hasText: 'said by a step' }).waitFor();
});

await step('registries: log in, browse, look at a tag, pull, log out', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-desktop-'));
  const program = process.env.FERRY ?? 'ferry';
  // The user's password is `secret`.
  execFileSync(program, ['registry', 'user', 'add', '--root', folder, '--password-stdin', 'ann'], { input: 'secret' });
  const registry = spawn(program, ['registry', 'serve', '--root', folder, '--addr', '127.0.0.1:5533'], { stdio: 'ignore' });
  process.on('exit', () => registry.kill());
  const host = '127.0.0.1:5533';
  await visit('registries');
  await page.getByText('There are no credentials').waitFor();
  await button('Log in').click();
  await dialog.getByLabel('Registry').fill(host);
  await dialog.getByLabel('User').fill('ann');
  await dialog.getByLabel('Password').fill('wrong');
  await eventually('the registry answers', () => fetch(`http://${host}/v2/`).then(() => true));
  await button('Log in', dialog).click();
  await dialog.locator('.notice.failed', { hasText: 'unauthorized' }).waitFor();
  await dialog.getByLabel('Password').fill('secret');
  await button('Log in', dialog).click();
  await toast(`Logged in to ${host}`);
  ferry('tag', 'busybox', `${host}/team/app:1.0`);
  ferry('tag', 'busybox', `${host}/team/app:1.1`);
  ferry('push', '-q', `${host}/team/app:1.0`);
  ferry('push', '-q', `${host}/team/app:1.1`);
  ferry('rmi', `${host}/team/app:1.1`);
  await page.getByRole('link', { name: host }).click();
  await row('team/app').click();
  await row('1.0').waitFor();
  await row('1.1').click();
  await dialog.getByText('linux/amd64').waitFor();
  await button('Pull', dialog).click();
  await button('Pull', dialog).click();
  await button('Close', dialog.locator('footer')).click();
  assert.match(ferry('images', '-q', `${host}/team/app:1.1`), /[0-9a-f]{12}/);
  await visit('registries');
  await button(`Log out ${host}`).click();
  await toast(`Logged out of ${host}`);
  await page.getByText('There are no credentials').waitFor();
  ferry('rmi', `${host}/team/app:1.0`, `${host}/team/app:1.1`);
  registry.kill();
  rmSync(folder, { recursive: true });
});

await step('events and the palette, with keys alone', async () => {
  await page.keyboard.press('Control+k');
  await page.keyboard.type('events');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Events' }).waitFor();
  await row('disconnect').first().waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('pause from');
  await page.keyboard.press('Enter');
  await eventually('paused by the palette', () => state('from-image') === 'paused');
});

await step('Korean and dark are remembered', async () => {
  await visit('settings');
  const inside = page.locator('main');
  await button('한국어', inside).click();
  await button('어둡게', inside).click();
  await page.reload();
  await page.getByRole('heading', { name: '설정', exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await button('English', inside).click();
  // The engine's own settings, as it has them.
  await page.locator('.setting', { hasText: 'data-root' }).getByText(ferry('info', '-f', '{{.DockerRootDir}}'), { exact: true }).waitFor();
  await page.locator('.setting', { hasText: 'storage-driver' }).getByText(ferry('info', '-f', '{{.Driver}}'), { exact: true }).waitFor();
});

const buildId = (tag) => builds.find((build) => build.Tags.includes(tag)).Id;
const builds = await page.evaluate(async () => (await fetch('/api/build/history')).json());
await step('axe finds nothing, light and dark, wide and narrow', async () => {
  const views = [['overview'], ['containers'], ['containers', id('web'), 'logs'], ['containers', id('web'), 'stats'], ['containers', id('web'), 'files'], ['containers', id('db'), 'details'], ['containers', id('web'), 'inspect'], ['images'], ['images', ferry('inspect', '--type', 'image', '-f', '{{.Id}}', 'busybox')], ['volumes'], ['volumes', 'site'], ['networks'], ['compose'], ['compose', 'shop'], ['compose', 'shop', 'logs'], ['builds'], ['builds', buildId('broken')], ['builds', buildId('built:1')], ['registries'], ['events'], ['settings']];
  const found = [];
  for (const [look, width] of [['light', 1280], ['dark', 1280], ['light', 420], ['dark', 420]]) {
    await page.setViewportSize({ width, height: 800 });
    await page.evaluate((name) => localStorage.setItem('theme', name), look);
    await page.reload();
    for (const view of views) {
      await visit(...view);
      await page.waitForTimeout(250);
      const result = await page.evaluate(`${axe}; axe.run({ resultTypes: ['violations'] })`);
      for (const { id: rule, nodes } of result.violations) found.push(`${look} ${width} ${view.join('/')}: ${rule}: ${nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(' | ')}`);
    }
  }
  assert.deepEqual(found, []);
});

await step('a connection that breaks off is another try, or is said', async () => {
  // As browsers do when the machine's addresses change.
  const broken = new Set();
  await page.route('**/api/**', (route) => {
    const target = `${route.request().method()} ${route.request().url()}`;
    if (target.endsWith('/_ping') || broken.has(target)) return route.fallback();
    broken.add(target);
    return route.abort('connectionreset');
  });
  await visit('images');
  await page.reload();
  await row('busybox').first().waitFor();
  await visit('containers');
  await button('Stop db').click();
  await toast('The connection broke off before the answer came');
  assert.equal(state('db'), 'running', 'it was not sent again by itself');
  assert.ok([...broken].some((target) => target.startsWith('GET')) && [...broken].some((target) => target.startsWith('POST')));
  await page.unroute('**/api/**');
});

await step('a part of the page that does not come is said', async () => {
  const [other, wrongs] = [await context.newPage(), []];
  other.on('pageerror', (error) => wrongs.push(String(error)));
  for (const [file, place] of [['views', 'images'], ['terminal', `containers/${id('web')}/terminal`]]) {
    await other.route(`**/${file}.js`, (route) => route.abort());
    await other.goto(`${origin}/#/${place}`);
    await other.reload();
    await other.getByText('A part of this page could not be loaded').waitFor();
    await other.unroute(`**/${file}.js`);
  }
  for (const [file, place, name] of [['views', 'overview', /^Clean up: /], ['korean', 'containers', '한국어']]) {
    await other.route(`**/${file}.js`, (route) => route.abort());
    await other.goto(`${origin}/#/${place}`);
    await other.reload();
    await other.getByRole('button', { name }).first().click();
    await other.locator('.toast', { hasText: 'A part of this page could not be loaded' }).waitFor();
    await other.unroute(`**/${file}.js`);
  }
  assert.deepEqual(wrongs, []);
  await other.close();
});

await step('an engine that goes away is said, and found again', async () => {
  // The scenario ends the daemon and starts it again when it reads this line.
  if (process.env.FERRY_TEST_RESTART !== '1') return;
  await page.setViewportSize({ width: 1280, height: 800 });
  await visit('containers');
  console.log('RESTART THE DAEMON');
  await page.getByText('The engine does not answer').waitFor({ timeout: 60_000 });
  await page.getByText('The engine does not answer').waitFor({ state: 'detached', timeout: 60_000 });
});

// axe is put into the page, past its policy; what it complains of is not the page's.
const left = wrong.filter((line) => !line.includes('axe'));
assert.deepEqual(left, [], 'the page complained, or asked another host');
console.log(`${count()} flows`);
await close();
