// What is done with containers, images, networks and volumes beyond the everyday: several at once, all options, what the kernel and the
// engine say of it. Run by the scenario `desktop::depth_in_a_browser`, or by hand:
// FERRY=target/debug/ferry DOCKER_HOST=unix:///… node desktop/tests/depth.mjs   (the daemon has the image `busybox`, and is empty)
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { eventually, ferry, open, steps } from './desktop.mjs';

const { page, wrong, visit, close } = await open();
const { step, row, button, toast, dialog, state, id, count } = steps(page, wrong, close);
const program = process.env.FERRY ?? 'ferry';
const inside = (name, ...words) => execFileSync(program, ['exec', name, ...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
/** Runs one that may fail. */
const tried = (...words) => spawnSync(program, words, { encoding: 'utf8' });
const inspected = (name, format) => JSON.parse(ferry('inspect', '-f', `{{json ${format}}}`, name));
/** The words of a command that the page shows, as a shell takes them. */
const shellWords = (line) => execFileSync('sh', ['-c', `set -- ${line}; for word; do printf '%s\\n' "$word"; done`], { encoding: 'utf8' }).trimEnd().split('\n');
const runs = (line) => execFileSync(program, shellWords(line).slice(1), { encoding: 'utf8' });

await step('several at once: stop, start, pause, resume, restart, and the command for all of them', async () => {
  const all = ['one', 'two', 'three'];
  for (const name of all) ferry('run', '-d', '--name', name, '--stop-timeout', '0', 'busybox', 'sleep', '100000');
  ferry('run', '-d', '--name', 'other', '--stop-timeout', '0', 'busybox', 'sleep', '100000');
  await visit('containers');
  for (const name of all) await page.getByLabel(`Select ${name}`).check();
  await page.getByText('3 selected').waitFor();
  const bar = page.locator('.chosen');
  const lines = {};
  for (const [verb, after, done] of [['Stop', 'exited', 'Stopped'], ['Start', 'running', 'Started'], ['Pause', 'paused', 'Paused'], ['Resume', 'running', 'Resumed']]) {
    await button(verb, bar).click();
    await toast(`${done} 3 containers`);
    lines[verb] = await page.locator('.toast', { hasText: `${done} 3 containers` }).locator('code').first().innerText();
    for (const name of all) assert.equal(state(name), after, `${verb} ${name}`);
  }
  assert.equal(state('other'), 'running');
  const before = all.map((name) => inspected(name, '.State.Pid'));
  await button('Restart', bar).click();
  await toast('Restarted 3 containers');
  assert.ok(all.every((name, place) => inspected(name, '.State.Pid') !== before[place]));
  // What the page shows does the same.
  runs(lines.Stop);
  for (const name of all) assert.equal(state(name), 'exited');
  await eventually('the list has heard of it', async () => (await page.locator('[data-row]', { hasText: 'Exited' }).count()) === 3);
  await button('Remove', bar).click();
  assert.match(await dialog.locator('code').innerText(), /^ferry rm (one|two|three)( (one|two|three)){2}$/);
  await button('Remove', dialog).click();
  await eventually('they are gone', () => ferry('ps', '-a', '--format', '{{.Names}}') === 'other');
  ferry('rm', '-f', 'other');
});

await step('run with every option, and the command makes the same container', async () => {
  ferry('network', 'create', 'side');
  await visit('images');
  await button('Run busybox:latest').click();
  const field = (name) => dialog.getByLabel(name, { exact: true });
  await field('Name').fill('full');
  await field('Command').fill(`sh -c 'trap "exit 0" TERM; while :; do sleep 1; done'`);
  await field('Ports').fill('127.0.0.1::80 127.0.0.1::53/udp');
  await field('Volumes').fill('full-data:/data /tmp:/host:ro');
  await field('Environment').fill("WHO=all of us\nQUOTE=it's");
  await dialog.getByRole('combobox', { name: 'Network' }).selectOption('side');
  await field('User').fill('1234:5678');
  await field('Memory limit').fill('48m');
  await field('Processors').fill('0.5');
  await dialog.getByRole('combobox', { name: 'Restart policy' }).selectOption('on-failure');
  await dialog.getByLabel('With a terminal').check();
  const line = await dialog.locator('.command-line code').innerText();
  await button('Run', dialog).click();
  await page.getByRole('heading', { name: 'full', exact: true }).waitFor();
  // The kernel's words.
  assert.equal(inside('full', 'id', '-u'), '1234');
  assert.equal(inside('full', 'sh', '-c', 'echo "$WHO $QUOTE"'), "all of us it's");
  assert.match(inside('full', 'grep', ' /host ', '/proc/self/mounts'), / ro[, ]/);
  assert.match(inside('full', 'cat', '/proc/1/cmdline'), /trap/);
  runs(line.replace('--name full', '--name twin'));
  for (const part of ['.Config.Cmd', '.Config.Env', '.Config.User', '.Config.Tty', '.Config.OpenStdin', '.Config.ExposedPorts', '.HostConfig.PortBindings', '.HostConfig.Binds', '.HostConfig.Memory', '.HostConfig.NanoCpus', '.HostConfig.RestartPolicy', '.HostConfig.NetworkMode']) {
    assert.deepEqual(inspected('full', part), inspected('twin', part), part);
  }
  assert.equal(inspected('full', '.HostConfig.Memory'), 48 << 20);
  ferry('rm', '-f', 'full', 'twin');
});

await step('health as it went, and what is wrong with one that runs', async () => {
  ferry('run', '-d', '--name', 'sick', '--stop-timeout', '0', '--health-cmd', 'echo no pulse; exit 1', '--health-interval', '300ms', '--health-retries', '2', 'busybox', 'sleep', '100000');
  await eventually('it is unhealthy', () => inspected('sick', '.State.Health.Status') === 'unhealthy');
  await visit('containers', id('sick'), 'details');
  await page.locator('.health-now.unhealthy').waitFor();
  await page.locator('.probes li', { hasText: 'no pulse' }).first().getByText('code 1').waitFor();
  const shown = await page.locator('.probes li').count();
  assert.ok(shown >= 2 && shown <= inspected('sick', '.State.Health.Log').length, `${shown} checks`);
  await page.locator('.notice .why', { hasText: /health/i }).waitFor();
  ferry('rm', '-f', 'sick');
});

await step('why it ended: what the engine has found out, as `ferry why` says it', async () => {
  tried('run', '--name', 'eater', '-m', '16m', 'busybox', 'tail', '/dev/zero');
  tried('run', '--name', 'lost', 'busybox', 'nosuchprogram');
  ferry('run', '-d', '--name', 'slow', '--stop-timeout', '0', 'busybox', 'sleep', '100000');
  ferry('stop', 'slow');
  for (const name of ['eater', 'lost', 'slow']) {
    await visit('containers', id(name));
    const told = ferry('why', name).split('\n').map((line) => line.replace(/^\s*hint: /, '').trim()).filter(Boolean);
    const notice = page.locator('.notice .why');
    await notice.locator('div').first().waitFor();
    await eventually(`${name}: ${told.join(' / ')}`, async () => {
      const shown = (await notice.innerText()).toLowerCase();
      return told.every((line) => shown.includes(line.toLowerCase()));
    });
  }
  assert.match(ferry('why', 'eater'), /memory/);
  await button('ferry why slow').click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'ferry why slow');
  ferry('rm', '-f', 'eater', 'lost', 'slow');
});

await step('levels of a log are told apart, and times come and go', async () => {
  ferry('run', '-d', '--name', 'levels', '--stop-timeout', '0', 'busybox', 'sh', '-c', 'echo "INFO all is well"; echo "[warn] nearly full"; echo "level=error msg=broken"; echo "DEBUG x=1"; echo plain; exec sleep 100000');
  await visit('containers', id('levels'), 'logs');
  for (const [level, text] of [['info', 'all is well'], ['warn', 'nearly full'], ['error', 'broken'], ['debug', 'x=1']]) await page.locator(`.log-line.${level}`, { hasText: text }).waitFor();
  const colour = (text) => page.locator('.log-line', { hasText: text }).locator('.log-text').evaluate((element) => getComputedStyle(element).color);
  const colours = new Set([await colour('broken'), await colour('nearly full'), await colour('plain')]);
  assert.equal(colours.size, 3);
  assert.equal(await page.locator('.log-line.error, .log-line.warn', { hasText: 'plain' }).count(), 0);
  assert.equal(await page.locator('.log-time').count(), 5);
  await page.getByLabel('Times').uncheck();
  assert.equal(await page.locator('.log-time').count(), 0);
  await page.getByLabel('Times').check();
});

await step('terminals are apart, each as its own user', async () => {
  await visit('containers', id('levels'), 'terminal');
  const screen = page.locator('.screen:not([hidden]) .xterm-rows');
  const asks = (word) => eventually(`a prompt ${word}`, async () => (await screen.innerText()).includes(word));
  await asks('#');
  await page.keyboard.type('tty > /dev/shm/first; id -u >> /dev/shm/first\n');
  await page.getByLabel('as user…').fill('65534');
  await button('New terminal').click();
  await asks('$');
  await page.keyboard.type('tty > /dev/shm/second; id -u >> /dev/shm/second\n');
  const [first, second] = [await eventually('the first', () => inside('levels', 'cat', '/dev/shm/first')), await eventually('the second', () => inside('levels', 'cat', '/dev/shm/second'))];
  assert.notEqual(first.split('\n')[0], second.split('\n')[0]);
  assert.deepEqual([first.split('\n')[1], second.split('\n')[1]], ['0', '65534']);
  await page.locator('.terminal-tab button').first().click();
  await page.keyboard.type('echo again >> /dev/shm/first\n');
  await eventually('the first goes on', () => inside('levels', 'cat', '/dev/shm/first').includes('again'));
  await button('Close terminal 2').click();
  await eventually('its shell has ended', () => !inside('levels', 'ps', '-o', 'user,args').includes('65534'));
});

await step('files: dropped, binary, links, folders as archives, and thousands of them', async () => {
  inside('levels', 'sh', '-c', 'mkdir /many /many/deep; cd /many; for n in $(seq 3000); do : > file-$n; done; ln -s deep link; echo here > deep/treasure; printf "\\000\\001" > blob; rm /etc/passwd');
  await visit('containers', id('levels'), 'files');
  await button('many').click();
  await button('blob').waitFor();
  // A list of any length draws what is in sight.
  assert.ok((await page.locator('[data-row]').count()) < 60);
  await page.evaluate(() => (document.querySelector('main').scrollTop = 1e9));
  await button('file-3000').waitFor();
  assert.ok((await page.locator('[data-row]').count()) < 60);
  await page.evaluate(() => (document.querySelector('main').scrollTop = 0));
  await button('blob').click();
  await dialog.getByText('This file is not text.').waitFor();
  await page.keyboard.press('Escape');
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download deep' }).click();
  assert.match(execFileSync('tar', ['tf', await (await download).path()], { encoding: 'utf8' }), /deep\/treasure/);
  await page.evaluate(() => (document.querySelector('main').scrollTop = 1e9));
  await page.locator('.file-name', { hasText: 'link' }).click();
  await button('treasure').waitFor();
  const data = await page.evaluateHandle(() => {
    const dropped = new DataTransfer();
    dropped.items.add(new File(['let fall'], 'fallen one.txt'));
    dropped.items.add(new File(['and another'], 'fallen-two'));
    return dropped;
  });
  await page.dispatchEvent('.drop', 'dragover', { dataTransfer: data });
  await page.locator('.drop.over').waitFor();
  await page.dispatchEvent('.drop', 'drop', { dataTransfer: data });
  await toast('2 files brought in');
  await page.locator('.drop:not(.over)').waitFor();
  assert.equal(inside('levels', 'cat', '/many/deep/fallen one.txt', '/many/deep/fallen-two'), 'let falland another');
  await button('Changes').click();
  await row('/etc/passwd').getByText('deleted').waitFor();
  const changes = new Map(ferry('diff', 'levels').split('\n').map((line) => [line.slice(2), line[0]]));
  assert.deepEqual([changes.get('/etc/passwd'), changes.get('/many/deep/fallen-two'), changes.get('/etc')], ['D', 'A', 'C']);
  await row('/etc').first().getByText('changed').waitFor();
});

await step('graphs: the figures of the kernel, kept while somebody looks', async () => {
  ferry('run', '-d', '--name', 'busy', '--stop-timeout', '0', '--cpus', '0.3', 'busybox', 'sh', '-c', 'dd if=/dev/urandom of=/dev/shm/ball bs=1M count=20 2>/dev/null; while :; do :; done');
  await visit('containers', id('busy'), 'stats');
  const chart = (name) => page.locator(`.chart svg[aria-label^="${name}"]`);
  const figure = async (name) => Number.parseFloat((await chart(name).getAttribute('aria-label')).split(': ')[1]);
  await eventually('the processor as much as it may', async () => Math.abs((await figure('CPU')) - 30) < 12);
  const cgroup = Number(ferry('stats', '--no-stream', '--format', '{{.MemUsage}}', 'busy').split('MiB')[0]);
  assert.ok(Math.abs((await figure('Memory')) - cgroup) < 3, `${await figure('Memory')} MiB here, ${cgroup} there`);
  const points = async () => (await chart('CPU').locator('polyline').getAttribute('points')).split(' ').length;
  await eventually('a few samples', async () => (await points()) >= 3);
  await visit('overview');
  await page.locator('.busiest li').first().getByText('busy').waitFor();
  // Another page gets what the first has seen.
  await page.reload();
  await visit('containers', id('busy'), 'stats');
  await eventually('they are there', async () => (await chart('CPU').locator('polyline').count()) > 0);
  assert.ok((await points()) >= 3);
  await chart('CPU').hover({ position: { x: 300, y: 40 } });
  await page.locator('.chart-at').first().waitFor();
  ferry('rm', '-f', 'busy', 'levels');
});

await step('an image’s layers: the line that made each, what it added, and what is wasted of it', async () => {
  const text = 'FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1000 count=700\nRUN rm /big && echo x > /small\nLABEL kind=test\n';
  execFileSync(program, ['build', '-q', '-t', 'waste', '-'], { input: text });
  await visit('images', inspected('waste', '.Id'));
  await page.locator('.step', { hasText: 'RUN dd if=/dev/urandom of=/big' }).getByText('700 kB').waitFor();
  await page.locator('.step', { hasText: 'LABEL kind=test' }).getByText('0 B').waitFor();
  await button('Look into the layers').click();
  await page.getByText('700 kB wasted').waitFor();
  await page.locator('.steps > li', { hasText: 'RUN rm /big' }).getByRole('button').click();
  await page.locator('.step-files li', { hasText: '/big' }).getByText('deleted').waitFor();
  assert.match(runs(await page.locator('.card .command-line code').first().innerText()), /RUN .*rm \/big/);
});

await step('clean up of images and of the build cache: what is listed is what goes', async () => {
  execFileSync(program, ['build', '-q', '-'], { input: 'FROM busybox\nRUN echo nameless > /f\n' });
  ferry('create', '--name', 'keeps', 'busybox', 'true');
  await visit('images');
  await button('Clean up').click();
  await eventually('the nameless one', async () => (await dialog.locator('.victims li').count()) === 1);
  await dialog.getByLabel('Also those with names').check();
  await dialog.locator('.victims', { hasText: 'waste:latest' }).waitFor();
  assert.equal(await dialog.locator('.victims', { hasText: 'busybox' }).count(), 0);
  await dialog.getByText('ferry image prune -f -a').waitFor();
  await button('Remove 2', dialog).click();
  await toast('freed');
  assert.equal(ferry('images', '-a', '--format', '{{.Repository}}'), 'busybox');
  await visit('overview');
  await button('Clean up: Build cache').click();
  await dialog.locator('.victims li', { hasText: 'RUN echo nameless' }).waitFor();
  const listed = await dialog.locator('.victims li').count();
  await button(`Remove ${listed}`, dialog).click();
  await toast('freed');
  assert.equal(ferry('system', 'df', '--format', '{{.TotalCount}}').split('\n')[3], '0');
  ferry('rm', 'keeps');
});

await step('a build is followed while it is under way', async () => {
  const build = spawn(program, ['build', '-q', '-t', 'slowly', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise((told) => build.on('exit', told));
  build.stdin.end('FROM busybox\nRUN echo first word; while [ ! -e /proc/sys/kernel/nosuch ] && [ $((n=n+1)) -lt 6 ]; do sleep 1; done; echo last word\n');
  await visit('builds');
  await row('slowly').getByText('Building').waitFor();
  await row('slowly').click();
  await page.locator('.build-step .step-log', { hasText: 'first word' }).waitFor();
  assert.equal(await page.locator('.step-log', { hasText: 'last word' }).count(), 0);
  await page.locator('.view-head', { hasText: 'Done' }).waitFor({ timeout: 30_000 });
  await ended;
  await page.locator('.step-line', { hasText: 'first word' }).click();
  await page.locator('.step-log', { hasText: 'last word' }).waitFor();
});

await step('networks: made with options, and the picture tells who reaches whom', async () => {
  await visit('networks');
  await button('New network').click();
  await dialog.getByLabel('Name', { exact: true }).fill('shut');
  await dialog.getByLabel('internal: no way out').check();
  const line = await dialog.locator('.command-line code').innerText();
  await button('Create', dialog).click();
  await page.locator('.picture-name', { hasText: 'shut' }).waitFor();
  runs(line.replace(/shut$/, 'shut-twin'));
  assert.deepEqual([inspected('shut', '.Internal'), inspected('shut-twin', '.Internal')], [true, true]);
  await page.locator('.picture-note', { hasText: 'no way out' }).first().waitFor();
  const runs_ = (name, ...networks) => {
    ferry('run', '-d', '--name', name, '--stop-timeout', '0', '--network', networks[0], ...(name === 'front' ? ['-p', '127.0.0.1::80'] : []), 'busybox', 'sleep', '100000');
    for (const network of networks.slice(1)) ferry('network', 'connect', network, name);
  };
  runs_('front', 'side');
  runs_('middle', 'side', 'shut');
  runs_('back', 'shut');
  const box = (name) => page.locator(`g[data-container="${name}"]`);
  await box('back').waitFor();
  await box('front').locator('a').focus();
  const reaches = (from, to) => tried('exec', from, 'ping', '-c', '1', '-W', '1', Object.values(inspected(to, '.NetworkSettings.Networks')).at(-1).IPAddress).status === 0;
  const at = (name) => Object.values(inspected(name, '.NetworkSettings.Networks'));
  const meets = (from, to) => at(to).some(({ IPAddress: address }) => tried('exec', from, 'ping', '-c', '1', '-W', '1', address).status === 0);
  for (const from of ['front', 'middle', 'back']) {
    await box(from).locator('a').focus();
    const told = await page.locator('.picture figcaption').innerText();
    for (const to of ['front', 'middle', 'back'].filter((name) => name !== from)) {
      const faded = await box(to).evaluate((element) => element.classList.contains('faded'));
      assert.equal(!faded, meets(from, to), `${from} to ${to}`);
      assert.equal(told.split(' · ')[0].includes(to), meets(from, to), told);
    }
  }
  assert.equal(reaches('front', 'back'), false);
  assert.match(await box('front').locator('a').getAttribute('aria-description'), /front reaches middle · reached from outside at \d+/);
  ferry('rm', '-f', 'front', 'middle', 'back');
  await button('List').click();
  await button('Remove shut').click();
  await button('Remove', dialog).click();
  await row('shut').nth(1).waitFor({ state: 'detached' });
  assert.equal(ferry('network', 'ls', '-q', '--filter', 'name=^shut$'), '');
  await button('Picture').click();
});

await step('sizes are the engine’s: volumes, images and all of the disk', async () => {
  ferry('run', '--rm', '-v', 'heavy:/v', 'busybox', 'dd', 'if=/dev/urandom', 'of=/v/ball', 'bs=1000', 'count=3000');
  await visit('volumes');
  const usage = await page.evaluate(async () => (await fetch('/api/system/df')).json());
  const there = usage.Volumes.find((volume) => volume.Name === 'heavy').UsageData.Size;
  assert.ok(there >= 3_000_000, String(there));
  await row('heavy').getByText(`${(there / 1e6).toPrecision(3)} MB`).waitFor();
  await visit('overview');
  for (const [title, size] of [['Images', usage.LayersSize], ['Volumes', usage.Volumes.reduce((sum, volume) => sum + volume.UsageData.Size, 0)]]) {
    await page.locator('.room', { hasText: title }).locator('strong', { hasText: `${(size / 1e6).toPrecision(3)} MB` }).waitFor();
  }
  await page.locator('.room', { hasText: 'Volumes' }).getByText(/[34]\.\d+ MB can be freed/).waitFor();
  ferry('volume', 'rm', 'heavy');
  await eventually('the overview has heard of it', async () => !(await page.locator('.room', { hasText: 'Volumes' }).getByText('can be freed').isVisible()));
});

await step('events come while one looks', async () => {
  await visit('events');
  ferry('volume', 'create', 'noticed');
  await row('noticed').getByText('create').waitFor();
  await page.getByRole('group', { name: 'Kind' }).getByRole('button', { name: 'Containers' }).click();
  await row('noticed').waitFor({ state: 'detached' });
  ferry('volume', 'rm', 'noticed');
});

assert.deepEqual(wrong, [], 'the page complained, or asked another host');
console.log(`${count()} flows in depth`);
await close();
