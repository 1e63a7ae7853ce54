// The page's own settings and those of the engine, each explained.

import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { useCell } from '../cell';
import { theme } from '../look';
import { choose } from '../parts/language';
import { info } from '../state';
import { language, t } from '../words';
import { times } from './container/logs';

function Setting({ title, text, children }: { title: string; text: string; children: ComponentChildren }) {
  return (
    <div class="setting">
      <div>
        <h2>{title}</h2>
        <p class="muted">{text}</p>
      </div>
      {children}
    </div>
  );
}

/** What the engine tells of its settings, by their names in daemon.json. Only the engine's file changes them. */
function Engine() {
  const engine = useCell(info);
  useEffect(() => info.show(), []);
  if (!engine) return null;
  const listed = (all?: string[] | null) => (all?.length ? all.join(', ') : t('noneSet'));
  const settings: [string, string, string][] = [
    ['data-root', t('setRoot'), engine.DockerRootDir],
    ['storage-driver', t('setStorage'), engine.Driver],
    ['log-driver', t('setLog'), engine.LoggingDriver],
    ['default-runtime', t('setRuntime'), engine.DefaultRuntime],
    ['exec-opts', t('setCgroup'), `v${engine.CgroupVersion}, ${engine.CgroupDriver}`],
    ['live-restore', t('setRestore'), t(engine.LiveRestoreEnabled ? 'yes' : 'no')],
    ['seccomp-profile', t('setSecurity'), listed(engine.SecurityOptions?.map((option) => option.replace(/^name=/, '')))],
    ['registry-mirrors', t('setMirrors'), listed(engine.RegistryConfig?.Mirrors)],
    ['insecure-registries', t('setInsecure'), listed(engine.RegistryConfig?.InsecureRegistryCIDRs)],
    ['default-address-pools', t('setPools'), listed(engine.DefaultAddressPools?.map(({ Base, Size }) => `${Base} /${Size}`))],
    ['proxies', t('setProxy'), listed([engine.HttpProxy ?? '', engine.HttpsProxy ?? ''].filter(Boolean))],
    ['labels', t('setLabels'), listed(engine.Labels)],
  ];
  return (
    <section class="card">
      <h2>{t('engineSettings')}</h2>
      <p class="muted">{t('engineSettingsText')}</p>
      {settings.map(([key, text, value]) => (
        <Setting key={key} title={key} text={text}>
          <code class="setting-value">{value}</code>
        </Setting>
      ))}
    </section>
  );
}

export function Settings() {
  const look = useCell(theme);
  const spoken = useCell(language);
  const timed = useCell(times);
  const keys: [string, string][] = [
    ['Ctrl K', t('keyPalette')],
    ['/', t('keySearch')],
    ['↑ ↓', t('keyRows')],
    ['Enter', t('keyOpen')],
    ['Space', t('keySelect')],
  ];
  return (
    <>
      <header class="view-head">
        <h1>{t('settings')}</h1>
      </header>
      <div class="stack narrow">
        <section class="card">
          <Setting title={t('theme')} text={t('themeText')}>
            <div class="segments" role="group" aria-label={t('theme')}>
              {(['system', 'light', 'dark'] as const).map((name) => (
                <button key={name} aria-pressed={look === name} onClick={() => (theme.value = name)}>
                  {t(name)}
                </button>
              ))}
            </div>
          </Setting>
          <Setting title={t('language')} text={t('languageText')}>
            <div class="segments" role="group" aria-label={t('language')}>
              <button aria-pressed={spoken === 'en'} lang="en" onClick={() => choose('en')}>
                English
              </button>
              <button aria-pressed={spoken === 'ko'} lang="ko" onClick={() => choose('ko')}>
                한국어
              </button>
            </div>
          </Setting>
          <Setting title={t('times')} text={t('timesText')}>
            <input type="checkbox" aria-label={t('times')} checked={timed === 'yes'} onChange={(event) => (times.value = event.currentTarget.checked ? 'yes' : 'no')} />
          </Setting>
        </section>
        <Engine />
        <section class="card">
          <h2>{t('keys')}</h2>
          <dl class="facts">
            {keys.map(([key, does]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </>
  );
}
