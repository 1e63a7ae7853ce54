// Copying text, and the line that shows the command for what a form does.

import { useState } from 'preact/hooks';
import { t } from '../words';
import { Icon } from './icon';

export function CopyButton({ text, label }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button class="ghost icon-only" type="button" title={label ?? t('copy')} aria-label={label ?? t('copy')} onClick={() => void copy()}>
      <Icon name={copied ? 'check' : 'copy'} size={15} />
    </button>
  );
}

/** The command that does the same. */
export function CommandLine({ command }: { command: string }) {
  return (
    <div class="command-line" title={t('sameCommand')}>
      <span class="prompt" aria-hidden="true">
        $
      </span>
      <code>{command}</code>
      <CopyButton text={command} label={t('copyCommand')} />
    </div>
  );
}
