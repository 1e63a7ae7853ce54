// Builds the page and puts it, compressed, where the crate `ferry-desktop` embeds it from. `sources.sha256` says from which
// sources; a test of that crate compares.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const root = dirname(fileURLToPath(import.meta.url));
const assets = join(root, '../crates/face/desktop/assets');

const files = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );

const named = ['build.mjs', 'index.html', 'package-lock.json', 'package.json', 'tsconfig.json'].map((name) => join(root, name));
const sources = [...named, ...files(join(root, 'src'))].sort();
const sums = sources.map((path) => {
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex');
  return `${hash}  ${relative(root, path)}\n`;
});

await build({
  root,
  configFile: false,
  // Every file lies beside the page's script, wherever that is: the server puts what they contain into their address.
  base: './',
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      output: { entryFileNames: 'app.js', chunkFileNames: ({ name }) => `${{ more: 'views', 'words.ko': 'korean' }[name] ?? name}.js`, assetFileNames: (asset) => (asset.names[0]?.startsWith('terminal') ? 'terminal.css' : 'app.css') },
    },
  },
});

const dist = join(root, 'dist');
mkdirSync(assets, { recursive: true });
for (const name of ['app.js', 'app.css', 'views.js', 'korean.js', 'terminal.js', 'terminal.css', 'icon.svg']) {
  const from = name === 'icon.svg' ? join(root, 'src/icon.svg') : join(dist, name);
  const packed = gzipSync(readFileSync(from), { level: 9 });
  writeFileSync(join(assets, `${name}.gz`), packed);
  console.log(`${name.padEnd(14)} ${(packed.length / 1024).toFixed(1)} KiB`);
}
writeFileSync(join(assets, 'index.html'), readFileSync(join(dist, 'index.html')));
writeFileSync(join(assets, 'sources.sha256'), sums.join(''));
