// The page's own settings, each explained.

import type { ComponentChildren } from 'preact';
import { useCell } from '../cell';
import { theme } from '../look';
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
              <button aria-pressed={spoken === 'en'} lang="en" onClick={() => (language.value = 'en')}>
                English
              </button>
              <button aria-pressed={spoken === 'ko'} lang="ko" onClick={() => (language.value = 'ko')}>
                한국어
              </button>
            </div>
          </Setting>
          <Setting title={t('times')} text={t('timesText')}>
            <input type="checkbox" aria-label={t('times')} checked={timed === 'yes'} onChange={(event) => (times.value = event.currentTarget.checked ? 'yes' : 'no')} />
          </Setting>
        </section>
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
