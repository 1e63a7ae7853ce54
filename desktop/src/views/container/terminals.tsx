// Terminals in a container: several, each in a tab.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../../api';
import { word } from '../../format';
import { CommandLine } from '../../parts/copy';
import { Empty, Failure } from '../../parts/empty';
import { Icon } from '../../parts/icon';
import { notLoaded } from '../../parts/more';
import type { Session } from '../../parts/terminal';
import type { ContainerDetail } from '../../types';
import { t } from '../../words';

/** The best shell that is there. */
const SHELL = ['sh', '-c', 'if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi'];

interface Tab {
  number: number;
  user: string;
  ended: boolean;
}

export function Terminals({ id, name, state }: { id: string; name: string; state: ContainerDetail['State'] }) {
  const [tabs, setTabs] = useState<Tab[]>([{ number: 1, user: '', ended: false }]);
  const [current, setCurrent] = useState(1);
  const [user, setUser] = useState('');
  const begun = useRef(false);
  if (!state.Running) return <Empty icon="terminal" title={t('notRunning')} text={t('notRunningText')} />;
  // What runs in terminals that are open stands still, and goes on with the container.
  if (state.Paused && !begun.current) return <Empty icon="terminal" title={t('isPaused')} text={t('isPausedText')} />;
  begun.current = true;
  const add = () => {
    const number = Math.max(0, ...tabs.map((tab) => tab.number)) + 1;
    setTabs([...tabs, { number, user, ended: false }]);
    setCurrent(number);
  };
  const close = (number: number) => {
    const left = tabs.filter((tab) => tab.number !== number);
    setTabs(left);
    if (current === number) setCurrent(left.at(-1)?.number ?? 0);
  };
  return (
    <div class="terminals">
      {state.Paused && <div class="notice">{t('isPaused')}</div>}
      <div class="tools">
        <div class="segments" role="group" aria-label={t('terminal')}>
          {tabs.map((tab) => (
            <span class="terminal-tab" key={tab.number}>
              <button aria-pressed={tab.number === current} onClick={() => setCurrent(tab.number)}>
                {tab.number}
                {tab.user && ` · ${tab.user}`}
                {tab.ended && ` · ${t('ended')}`}
              </button>
              <button class="icon-only" aria-label={t('closeTerminal', { number: tab.number })} onClick={() => close(tab.number)}>
                <Icon name="close" size={14} />
              </button>
            </span>
          ))}
        </div>
        <button onClick={add}>
          <Icon name="plus" size={15} />
          {t('newTerminal')}
        </button>
        <input class="short" placeholder={t('asUser')} aria-label={t('asUser')} value={user} onInput={(event) => setUser(event.currentTarget.value)} />
        <span class="grow">
          <CommandLine command={`ferry exec -it${user ? ` -u ${word(user)}` : ''} ${word(name)} sh`} />
        </span>
      </div>
      {tabs.map((tab) => (
        <Screen key={tab.number} id={id} user={tab.user} shown={tab.number === current} ended={() => setTabs((all) => all.map((other) => (other.number === tab.number ? { ...other, ended: true } : other)))} />
      ))}
    </div>
  );
}

function Screen({ id, user, shown, ended }: { id: string; user: string; shown: boolean; ended: () => void }) {
  const place = useRef<HTMLDivElement>(null);
  const session = useRef<Session | undefined>(undefined);
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    let gone = false;
    const end = (failed?: ApiError) => {
      setError(failed);
      ended();
    };
    import('../../parts/terminal').then(
      ({ open }) => {
        if (gone || !place.current) return;
        session.current = open(id, SHELL, user, place.current, { title: () => undefined, end });
      },
      () => gone || end(notLoaded()),
    );
    return () => {
      gone = true;
      session.current?.close();
    };
  }, []);
  // Before the next key, which is this terminal's.
  useLayoutEffect(() => {
    if (shown) session.current?.focus();
  }, [shown]);
  return (
    <div class="screen" hidden={!shown}>
      {error && <Failure error={error} />}
      <div class="screen-place" ref={place} />
    </div>
  );
}
