// Why a container ended, or what is wrong with it: what the engine has found out, or what the exit code tells.

import { useEffect, useState } from 'preact/hooks';
import { get, path } from '../../api';
import { ago, memory, word } from '../../format';
import { CopyButton } from '../../parts/copy';
import { Icon } from '../../parts/icon';
import type { ContainerDetail } from '../../types';
import { language, t } from '../../words';

interface Finding {
  Cause: string;
  What: string;
  Hint: string;
}

/** Nothing to tell of: the state says as much. */
const FINE = ['running', 'paused', 'never-started'];

/** What the engine knows; nothing where it is another one. `changed` is whatever makes it ask again. */
function useFindings(id: string, changed: string): Finding[] {
  const [found, setFound] = useState<Finding[]>([]);
  useEffect(() => {
    let gone = false;
    get<Finding[]>(path`/containers/${id}/why`).then(
      (all) => gone || setFound(all.filter(({ Cause }) => !FINE.includes(Cause))),
      () => gone || setFound([]),
    );
    return () => {
      gone = true;
    };
  }, [id, changed]);
  return found;
}

/** Why it ended, as the code tells; nothing while it runs. */
function own(detail: ContainerDetail): { title: string; text?: string; bad: boolean } | undefined {
  const { State: state, HostConfig: host } = detail;
  if (state.Running || state.Status === 'created') {
    return state.Error ? { title: t('whyFailed'), text: state.Error, bad: true } : undefined;
  }
  const ago_ = ago(new Date(state.FinishedAt));
  const title = t('whyExited', { code: state.ExitCode, ago: ago_ });
  if (state.Error) return { title, text: state.Error, bad: true };
  if (state.OOMKilled) return { title, text: t('whyOom', { limit: host.Memory ? memory(host.Memory) : t('host') }), bad: true };
  switch (state.ExitCode) {
    case 0:
      return { title, text: t('whyDone'), bad: false };
    case 125:
      return { title, text: t('why125'), bad: true };
    case 126:
      return { title, text: t('why126'), bad: true };
    case 127:
      return { title, text: t('why127'), bad: true };
    case 137:
      return { title, text: t('why137'), bad: true };
    case 139:
      return { title, text: t('why139'), bad: true };
    case 143:
      return { title, text: t('why143'), bad: false };
    default:
      return { title, text: state.ExitCode > 128 ? t('whySignal', { signal: state.ExitCode - 128 }) : t('whyOwn'), bad: true };
  }
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

export function Why({ detail }: { detail: ContainerDetail }) {
  const { State: state } = detail;
  const found = useFindings(detail.Id, `${state.Status} ${state.StartedAt} ${state.Health?.Status ?? ''}`);
  const told = own(detail);
  if (!told && found.length === 0) return null;
  const bad = told ? told.bad : true;
  // The engine speaks English only.
  const translated = told?.text && (found.length === 0 || language.value !== 'en') ? told.text : undefined;
  const command = `ferry why ${word(detail.Name.slice(1))}`;
  return (
    <div class={`notice ${bad ? 'failed' : ''}`}>
      <Icon name={bad ? 'warning' : 'check'} />
      <div class="why">
        {told && <strong>{told.title}</strong>}
        {translated && <div>{translated}</div>}
        {found.map(({ What, Hint }) => (
          <div key={What} lang="en">
            {sentence(What)}
            {Hint && <div class="muted">{sentence(Hint)}</div>}
          </div>
        ))}
      </div>
      {found.length > 0 && <CopyButton text={command} label={command} />}
    </div>
  );
}
