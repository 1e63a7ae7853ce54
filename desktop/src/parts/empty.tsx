// What is shown where nothing is: why, and what to do.

import type { ComponentChildren } from 'preact';
import type { ApiError } from '../api';
import { t } from '../words';
import { Icon, type IconName } from './icon';

interface EmptyProps {
  icon: IconName;
  title: string;
  text?: string;
  children?: ComponentChildren;
}

export function Empty({ icon, title, text, children }: EmptyProps) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} size={28} />
      </span>
      <h2>{title}</h2>
      {text && <p>{text}</p>}
      {children}
    </div>
  );
}

export function Failure({ error }: { error: ApiError }) {
  return (
    <div class="notice failed" role="alert">
      <Icon name="warning" />
      <div>
        <strong>{t('failed')}</strong>
        <div>{error.message}</div>
        {error.hint && <div class="muted">{error.hint}</div>}
      </div>
    </div>
  );
}

export function Loading({ text }: { text?: string }) {
  return (
    <div class="loading" role="status">
      {text ?? t('loading')}
    </div>
  );
}
