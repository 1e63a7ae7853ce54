// The frame around the views: sections at the side, what is wrong at the top.

import type { ComponentChild } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useCell } from './cell';
import { theme } from './look';
import { Dialogs } from './parts/dialog';
import { Icon, type IconName } from './parts/icon';
import { choose } from './parts/language';
import { More } from './parts/more';
import { openPalette, Palette } from './parts/palette';
import { Toasts } from './parts/toast';
import { route, to } from './route';
import { containers, online } from './state';
import { Containers } from './views/containers';
import { Overview } from './views/overview';
import { language, t, type Key } from './words';

interface Section {
  name: Key & IconName;
  draw: (rest: string[]) => ComponentChild;
}

const SECTIONS: Section[] = [
  { name: 'overview', draw: () => <Overview /> },
  {
    name: 'containers',
    draw: ([id, tab, folder]) => (id ? <More draw={({ Container }) => <Container key={id} id={id} tab={tab} folder={folder} />} /> : <Containers />),
  },
  { name: 'images', draw: ([id]) => <More draw={({ Image, Images }) => (id ? <Image key={id} id={id} /> : <Images />)} /> },
  { name: 'builds', draw: ([id]) => <More draw={({ BuildPage, Builds }) => (id ? <BuildPage key={id} id={id} /> : <Builds />)} /> },
  { name: 'volumes', draw: ([name]) => <More draw={({ VolumePage, Volumes }) => (name ? <VolumePage key={name} name={name} /> : <Volumes />)} /> },
  { name: 'networks', draw: ([id]) => <More draw={({ NetworkPage, Networks }) => (id ? <NetworkPage key={id} id={id} /> : <Networks />)} /> },
  { name: 'compose', draw: ([name, tab]) => <More draw={({ ProjectPage, Compose }) => (name ? <ProjectPage key={name} name={name} tab={tab} /> : <Compose />)} /> },
  { name: 'registries', draw: ([name]) => <More draw={({ RegistryPage, Registries }) => (name ? <RegistryPage key={name} name={name} /> : <Registries />)} /> },
  { name: 'events', draw: () => <More draw={({ Events }) => <Events />} /> },
  { name: 'settings', draw: () => <More draw={({ Settings }) => <Settings />} /> },
];

function Sidebar({ current, close }: { current: string; close: () => void }) {
  const all = useCell(containers);
  const count = useCell(containers.partial) ? undefined : all?.filter((container) => container.State === 'running').length;
  const look = useCell(theme);
  const next = { system: 'light', light: 'dark', dark: 'system' } as const;
  const spoken = useCell(language);
  // Letters of another script need another font, which takes the browser a while to find: not in the first view.
  const [settled, settle] = useState(false);
  useEffect(() => {
    const later = setTimeout(() => settle(true), 100);
    return () => clearTimeout(later);
  }, []);
  return (
    <nav aria-label={t('navigation')}>
      <a class="brand" href={to('overview')} onClick={close}>
        <img src="/icon.svg" alt="" width="28" height="28" />
        <span>Ferry</span>
      </a>
      <button class="nav-search" onClick={openPalette}>
        <Icon name="search" size={16} />
        <span>{t('paletteOpen')}</span>
        <kbd>Ctrl K</kbd>
      </button>
      <ul>
        {SECTIONS.map(({ name }) => (
          <li key={name}>
            <a href={to(name)} aria-current={current === name ? 'page' : undefined} onClick={close}>
              <Icon name={name} />
              <span>{t(name)}</span>
              {name === 'containers' && count !== undefined && count > 0 && <span class="count">{count}</span>}
            </a>
          </li>
        ))}
      </ul>
      <div class="nav-foot">
        <button class="ghost" onClick={() => (theme.value = next[look])} aria-label={`${t('theme')}: ${t(look)}`}>
          <Icon name={look === 'dark' ? 'moon' : 'sun'} />
          <span>{t(look)}</span>
        </button>
        <button class="ghost" onClick={() => choose(spoken === 'ko' ? 'en' : 'ko')} title={t('language')}>
          <Icon name="language" />
          <span lang={spoken === 'ko' ? 'en' : 'ko'}>{spoken === 'ko' ? 'English' : settled && '한국어'}</span>
        </button>
      </div>
    </nav>
  );
}

export function App() {
  const [place = 'overview', ...rest] = useCell(route);
  const look = useCell(theme);
  const spoken = useCell(language);
  const connected = useCell(online);
  const [open, setOpen] = useState(false);
  const section = SECTIONS.find(({ name }) => name === place) ?? SECTIONS[0];
  useEffect(() => {
    document.documentElement.lang = spoken;
    document.documentElement.dataset.theme = look;
  }, [spoken, look]);
  useEffect(() => {
    document.title = `${t(section.name)} · Ferry`;
    document.querySelector('main')?.scrollTo(0, 0);
  }, [section, rest[0]]);
  return (
    <div class={`frame ${open ? 'nav-open' : ''}`}>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.querySelector<HTMLElement>('main')?.focus();
      }}>
        {t('skip')}
      </a>
      <header class="topbar">
        <button class="ghost icon-only" aria-label={t('menu')} aria-expanded={open} onClick={() => setOpen(!open)}>
          <Icon name="menu" />
        </button>
        <strong>Ferry</strong>
      </header>
      <Sidebar current={section.name} close={() => setOpen(false)} />
      <div class="veil" onClick={() => setOpen(false)} />
      <main id="main" tabIndex={-1} key={spoken}>
        {!connected && (
          <div class="notice failed" role="alert">
            <Icon name="warning" />
            <div>{t('offline')}</div>
          </div>
        )}
        {section.draw(rest)}
      </main>
      <Palette />
      <Dialogs />
      <Toasts />
    </div>
  );
}
