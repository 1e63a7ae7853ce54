// Pictures of every view and dialog, light and dark, English and Korean, wide and narrow, to be looked at.
// FERRY=… DOCKER_HOST=… node desktop/tests/screenshots.mjs FOLDER   (LOOK=dark-ko-420 makes those of one look, ONLY=word those with it)
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ferry, open } from './desktop.mjs';

const folder = process.argv[2] ?? 'shots';
mkdirSync(folder, { recursive: true });
const { page, visit, close } = await open();
const words = (...command) => ferry(...command).split('\n').filter(Boolean);
const boxes = words('ps', '-a', '--no-trunc', '--format', '{{.ID}}\t{{.State}}\t{{.Label "com.docker.compose.project"}}\t{{.Ports}}').map((line) => line.split('\t'));
const first = (boxes.find(([, state, project, ports]) => state === 'running' && project && ports) ?? boxes.find(([, state]) => state === 'running'))?.[0];
const ended = boxes.find(([, state]) => state === 'exited')?.[0];
const project = boxes.map(([, , name]) => name).find(Boolean);
const images = words('images', '-q', '--no-trunc');
const volume = words('volume', 'ls', '-q').at(-1);
const network = words('network', 'ls', '--no-trunc', '--format', '{{.ID}} {{.Name}}').map((line) => line.split(' ')).find(([, name]) => name.startsWith(`${project}_`))?.[0];
const builds = await page.evaluate(async () => ((await (await fetch('/api/build/history')).json()) ?? []).map((build) => [build.Id, build.State]));
const build = (wanted) => builds.find(([, state]) => state === wanted)?.[0];
const registry = process.env.REGISTRY;

/** A view, the words of its address, and what is clicked there: a button's place among those of a kind. */
const views = [
  ['overview', ['overview']],
  ['overview-prune', ['overview'], '.rooms button >> nth=0'],
  ['containers', ['containers']],
  ['containers-menu', ['containers'], '.row-actions [aria-haspopup] >> nth=2'],
  ['containers-chosen', ['containers'], '.list-head input'],
  ['palette', ['containers'], '.nav-search'],
  ...['logs', 'terminal', 'stats', 'files', 'details', 'inspect'].map((tab) => [`container-${tab}`, ['containers', first, tab], undefined, first]),
  ['container-changes', ['containers', first, 'files'], '.panel .segments button >> nth=1', first],
  ['container-ended', ['containers', ended], undefined, ended],
  ['container-remove', ['containers', first], '.view-head .danger', first],
  ['images', ['images']],
  ['images-pull', ['images'], '.view-head .primary'],
  ['images-run', ['images'], '.row-actions button >> nth=0'],
  ...images.slice(0, 2).map((id, place) => [`image-${place + 1}`, ['images', id], '.card-head button >> nth=0']),
  ['volumes', ['volumes']],
  ['volume', ['volumes', volume], undefined, volume],
  ['networks', ['networks']],
  ['networks-list', ['networks'], '.segments button >> nth=1'],
  ['networks-picture', ['networks'], '.segments button >> nth=0'],
  ['networks-new', ['networks'], '.view-head .primary'],
  ['network', ['networks', network], undefined, network],
  ['builds', ['builds']],
  ['build', ['builds', build('done')], '.choice input', build('done')],
  ['build-failed', ['builds', build('failed')], undefined, build('failed')],
  ['compose', ['compose']],
  ['compose-open', ['compose'], '.view-head button'],
  ...['services', 'logs', 'composeFile', 'plan'].map((tab) => [`project-${tab}`, ['compose', project, tab], undefined, project]),
  ['registries', ['registries']],
  ['registry-login', ['registries'], '.view-head .primary'],
  ['registry', ['registries', registry], undefined, registry],
  ['registry-tags', ['registries', `${registry}/demo/app`], undefined, registry],
  ['events', ['events']],
  ['settings', ['settings']],
];
const LOOKS = [['light', 'en', 1280], ['dark', 'en', 1280], ['light', 'ko', 1280], ['dark', 'ko', 1280], ['light', 'en', 420], ['dark', 'en', 420], ['light', 'ko', 420], ['dark', 'ko', 420]];
const looks = process.env.LOOK ? LOOKS.filter((look) => look.join('-') === process.env.LOOK) : LOOKS;
for (const [theme, language, width] of looks) {
  await page.setViewportSize({ width, height: 800 });
  await page.evaluate((chosen) => Object.assign(localStorage, chosen), { theme, language });
  await page.reload();
  for (const [name, address, click, needed = true] of views) {
    if (!needed || !name.includes(process.env.ONLY ?? '')) continue;
    await visit(...address);
    await page.waitForTimeout(name === 'overview' || name.endsWith('stats') ? 4500 : 700);
    if (click && (await page.locator(click).first().isVisible())) {
      await page.locator(click).first().click();
      await page.waitForTimeout(900);
    }
    await page.screenshot({ path: join(folder, `${name}-${theme}-${language}-${width}.png`) });
    // Away with what was opened.
    await page.reload();
  }
}
await close();
