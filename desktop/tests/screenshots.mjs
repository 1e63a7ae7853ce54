// Pictures of every view, light and dark, English and Korean, wide and narrow, to be looked at.
// FERRY=… DOCKER_HOST=… node desktop/tests/screenshots.mjs FOLDER
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ferry, open } from './desktop.mjs';

const folder = process.argv[2] ?? 'shots';
mkdirSync(folder, { recursive: true });
const { page, visit, close } = await open();
const first = ferry('ps', '-q', '--no-trunc').split('\n')[0];
const image = ferry('images', '-q', '--no-trunc').split('\n')[0];
const volume = ferry('volume', 'ls', '-q').split('\n')[0];
const tabs = ['logs', 'terminal', 'stats', 'files', 'details', 'inspect'];
const builds = await page.evaluate(async () => ((await (await fetch('/api/build/history')).json()) ?? []).map((build) => [build.Id, build.State]));
const failed = builds.find(([, state]) => state === 'failed')?.[0];
const project = ferry('ps', '-a', '--format', '{{.Label "com.docker.compose.project"}}').split('\n').find(Boolean);
const registry = process.env.REGISTRY;
const views = [['overview'], ['containers'], ...(first ? tabs.map((tab) => ['containers', first, tab]) : []), ['images'], ...(image ? [['images', image]] : []), ['volumes'], ...(volume ? [['volumes', volume]] : []), ['networks'], ['builds'], ...(builds.length ? [['builds', builds[0][0]]] : []), ...(failed ? [['builds', failed, 'failed']] : []), ['compose'], ...(project ? ['services', 'logs', 'composeFile', 'plan'].map((tab) => ['compose', project, tab]) : []), ['registries'], ...(registry ? [['registries', registry], ['registries', `${registry}/demo/app`, 'tags']] : []), ['events'], ['settings']];
const LOOKS = [['light', 'en', 1280], ['dark', 'en', 1280], ['light', 'ko', 1280], ['dark', 'ko', 1280], ['light', 'en', 420], ['dark', 'en', 420], ['light', 'ko', 420], ['dark', 'ko', 420]];
const only = process.env.LOOK ? LOOKS.filter((look) => look.join('-') === process.env.LOOK) : LOOKS;
for (const [theme, language, width] of only) {
  await page.setViewportSize({ width, height: 800 });
  await page.evaluate((chosen) => Object.assign(localStorage, chosen), { theme, language });
  await page.reload();
  for (const view of views) {
    await visit(...(view[0] === 'builds' || view[0] === 'registries' ? view.slice(0, 2) : view));
    await page.waitForTimeout(view[0] === 'overview' || view[2] === 'stats' ? 4500 : 800);
    const name = [view[0], view[2] ?? (view[1] ? 'one' : ''), theme, language, width].filter(Boolean).join('-');
    await page.screenshot({ path: join(folder, `${name}.png`) });
  }
}
await close();
