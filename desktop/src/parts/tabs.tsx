// Tabs that are places: a link each, and the arrow keys go from one to the next.

import { go, to } from '../route';
import { t, type Key } from '../words';

interface TabsProps {
  label: string;
  names: readonly Key[];
  now: string;
  /** The address before the tab's name. */
  at: string[];
}

export function Tabs({ label, names, now, at }: TabsProps) {
  const keys = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? names.length - 1 : 0;
    if (step === 0) return;
    // From where the focus is: what was drawn may be a key behind.
    const here = names.findIndex((name) => document.activeElement?.id === `tab-${name}`);
    const next = names[(Math.max(0, here) + step) % names.length];
    document.getElementById(`tab-${next}`)?.focus();
    go(...at, next);
    event.preventDefault();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={keys}>
      {names.map((name) => (
        <a key={name} id={`tab-${name}`} role="tab" tabIndex={name === now ? 0 : -1} aria-selected={name === now} aria-controls="tab-panel" href={to(...at, name)}>
          {t(name)}
        </a>
      ))}
    </div>
  );
}
