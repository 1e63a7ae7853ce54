// A container's state as a dot and a word.

import { t, type Key } from '../words';

const KNOWN = ['running', 'paused', 'exited', 'created', 'restarting', 'removing', 'dead'];

interface StateProps {
  state: string;
  health?: 'healthy' | 'unhealthy' | 'starting';
  /** An exit code. */
  note?: string;
}

export function State({ state, health, note }: StateProps) {
  const word = KNOWN.includes(state) ? t(`state_${state}` as Key) : state;
  return (
    <span class="state">
      <span class={`dot ${state} ${health ?? ''}`} aria-hidden="true" />
      <span>{word}</span>
      {note && <span class="health unhealthy">{note}</span>}
      {health && <span class={`health ${health}`}>{t(health)}</span>}
    </span>
  );
}
