// The figures of the desktop's speed: the first view of 500 containers, a log of a million lines, what an open overview costs the daemon.
// FERRY=… DOCKER_HOST=… PID=<of the daemon> node desktop/tests/speed.mjs   (the daemon has the image `busybox`, and is empty)
import { readFileSync } from 'node:fs';
import { eventually, ferry, open } from './desktop.mjs';

const COUNT = Number(process.env.COUNT ?? 500);
const LINES = Number(process.env.LINES ?? 1_000_000);
const sleep = (time) => new Promise((later) => setTimeout(later, time));
/** Ticks of a hundredth of a second that a process has run. */
const ticks = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).reduce((all, part) => all + Number(part), 0);

const there = new Set(ferry('ps', '-a', '--format', '{{.Names}}').split('\n'));
for (let number = 0; number < COUNT; number += 1) {
  if (there.has(`box-${number}`)) continue;
  const running = number < 50;
  ferry(...(running ? ['run', '-d'] : ['create']), '--name', `box-${number}`, '--network', 'none', 'busybox', 'sleep', '100000');
}
const { page, origin, close, server } = await open();
await page.addInitScript(() => {
  const seen = new MutationObserver(() => {
    if (!document.querySelector('[data-row]') && !document.querySelector('.rooms')) return;
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => (window.firstView = performance.now())));
  });
  seen.observe(document, { childList: true, subtree: true });
});
const views = [];
for (let round = 0; round < 7; round += 1) {
  await page.goto('about:blank');
  // What the page before leaves the browser to do is no part of it.
  await sleep(500);
  await page.goto(`${origin}/#/containers`);
  views.push(await eventually('the first view', () => page.evaluate(() => window.firstView)));
}
const parts = await page.evaluate(() => {
  const of = (words) => performance.getEntriesByType('resource').find((entry) => entry.name.includes(words)) ?? { startTime: 0, responseEnd: 0 };
  const [page, script, list] = [performance.getEntriesByType('navigation')[0], of('/app.js'), of('/containers/json')];
  return `page there at ${page.responseEnd.toFixed(0)}, script at ${script.responseEnd.toFixed(0)}, list asked for at ${list.startTime.toFixed(0)}, there at ${list.responseEnd.toFixed(0)}, drawn at ${window.firstView.toFixed(0)} ms`;
});
console.log(`the last of them: ${parts}`);
views.sort((a, b) => a - b);
console.log(`first view of ${COUNT} containers: median ${views[3].toFixed(0)} ms, ${views[0].toFixed(0)} to ${views[6].toFixed(0)} ms`);

await page.goto(`${origin}/#/overview`);
await sleep(5000);
const pid = process.env.PID;
const [before, own] = [ticks(pid), ticks(server.pid)];
await sleep(30_000);
console.log(`the open overview of 50 running containers: daemon ${((ticks(pid) - before) / 30).toFixed(2)} % of a core, ferry desktop ${((ticks(server.pid) - own) / 30).toFixed(2)} %`);
await page.goto('about:blank');
// The sampler ends after its next pause.
await sleep(20_000);
const [idle, ownIdle] = [ticks(pid), ticks(server.pid)];
await sleep(15_000);
console.log(`closed: daemon ${((ticks(pid) - idle) / 15).toFixed(2)} %, ferry desktop ${((ticks(server.pid) - ownIdle) / 15).toFixed(2)} %`);

if (!there.has('log')) ferry('run', '-d', '--name', 'log', '--network', 'none', '--log-opt', 'max-size=1g', 'busybox', 'sh', '-c', `seq ${LINES} | sed 's/.*/2026-11-21 request & served by a worker with nothing to say/'; exec sleep 100000`);
const id = ferry('inspect', '-f', '{{.Id}}', 'log');
await eventually('the log is written', () => ferry('logs', '-n', '1', 'log').includes(` ${LINES} `));
await page.goto('about:blank');
const started = Date.now();
await page.goto(`${origin}/#/containers/${id}/logs`);
await page.locator('.log-line', { hasText: ` ${LINES} ` }).waitFor();
console.log(`a log of ${LINES} lines: its end is there after ${Date.now() - started} ms`);
const upward = Date.now();
await page.evaluate(() => (document.querySelector('.log').scrollTop = 0));
await page.getByText(/^15,000 lines/).waitFor();
console.log(`10,000 older lines are there ${Date.now() - upward} ms after scrolling up`);
const rest = Date.now();
await page.getByRole('button', { name: 'Read all of it' }).click();
await page.getByText(`${LINES.toLocaleString('en-US')} lines`).waitFor({ timeout: 180_000 });
console.log(`all ${LINES} lines are there ${Date.now() - rest} ms after they were asked for`);
const frames = await page.evaluate(async () => {
  const box = document.querySelector('.log');
  const times = [];
  let last = performance.now();
  for (let step = 0; step < 120; step += 1) {
    box.scrollTop = (box.scrollHeight * ((step * 37) % 120)) / 120;
    await new Promise((drawn) => requestAnimationFrame(drawn));
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  times.sort((a, b) => a - b);
  return { median: times[60], slow: times[114], worst: times[119], rows: document.querySelectorAll('.log-line').length };
});
console.log(`scrolling to 120 places in it: median ${frames.median.toFixed(1)} ms a frame, 95 % in ${frames.slow.toFixed(1)} ms, worst ${frames.worst.toFixed(1)} ms, ${frames.rows} lines drawn`);
const searched = Date.now();
await page.getByRole('searchbox').fill(`request ${LINES - 5} `);
await page.getByText('1 found').waitFor({ timeout: 60_000 });
console.log(`searched in ${Date.now() - searched} ms`);
await close();
