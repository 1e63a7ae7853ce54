// A field to search in; `/` goes to it.

import { useEffect, useRef } from 'preact/hooks';
import { t } from '../words';
import { Icon } from './icon';

export function Search({ text, change, hint }: { text: string; change: (text: string) => void; hint: string }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      if (event.key !== '/' || (event.target as HTMLElement).closest('input, textarea, select, .xterm, dialog')) return;
      event.preventDefault();
      field.current?.focus();
    };
    document.addEventListener('keydown', keys);
    return () => document.removeEventListener('keydown', keys);
  }, []);
  return (
    <label class="search">
      <Icon name="search" size={16} />
      <input ref={field} type="search" value={text} placeholder={hint} aria-label={t('search')} onInput={(event) => change(event.currentTarget.value)} />
    </label>
  );
}
