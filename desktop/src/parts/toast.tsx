// What was done, or why not, for a few seconds; and the command that does the same.

import { Cell, useCell } from '../cell';
import { t } from '../words';
import { CopyButton } from './copy';
import { Icon } from './icon';

interface Toast {
  id: number;
  kind: 'done' | 'failed';
  text: string;
  hint?: string;
  command?: string;
}

const toasts = new Cell<Toast[]>([]);
let next = 1;

export function toast(said: Omit<Toast, 'id'>): void {
  const id = next++;
  toasts.value = [...toasts.value.slice(-3), { ...said, id }];
  setTimeout(() => dismiss(id), said.kind === 'failed' ? 12_000 : 5000);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {useCell(toasts).map((toast) => (
        <div key={toast.id} class={`toast ${toast.kind}`}>
          <Icon name={toast.kind === 'done' ? 'check' : 'warning'} />
          <div class="toast-text">
            <div>{toast.text}</div>
            {toast.hint && <div class="muted">{toast.hint}</div>}
            {toast.command && (
              <div class="command-line">
                <code>{toast.command}</code>
                <CopyButton text={toast.command} />
              </div>
            )}
          </div>
          <button class="ghost icon-only" aria-label={t('close')} onClick={() => dismiss(toast.id)}>
            <Icon name="close" size={16} />
          </button>
        </div>
      ))}
    </div>
  );
}
