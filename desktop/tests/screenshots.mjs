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
const views = [['overview'], ['containers'], ...(first ? tabs.map((tab) => ['containers', first, tab]) : []), ['images'], ...(image ? [['images', image]] : []), ['volumes'], ...(volume ? [['volumes', volume]] : []), ['networks'], ['compose'], ['events'], ['settings']];
for (const [theme, language, width] of [['light', 'en', 1280], ['dark', 'en', 1280], ['light', 'ko', 1280], ['light', 'en', 420], ['dark', 'ko', 420]]) {
  await page.setViewportSize({ width, height: 800 });
  await page.evaluate((chosen) => Object.assign(localStorage, chosen), { theme, language });
  await page.reload();
  for (const view of views) {
    await visit(...view);
    await page.waitForTimeout(view[0] === 'overview' || view[2] === 'stats' ? 4500 : 800);
    const name = [view[0], view[2] ?? (view[1] ? 'one' : ''), theme, language, width].filter(Boolean).join('-');
    await page.screenshot({ path: join(folder, `${name}.png`) });
  }
}
await close();
