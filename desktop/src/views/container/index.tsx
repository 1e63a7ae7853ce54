// One container: what it is doing at the top, and everything about it behind tabs.

import type { ComponentChild } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, path } from '../../api';
import { useCell } from '../../cell';
import { ICONS, act, healthOf, nameOf, verbsFor } from '../../container';
import { ago, short, word } from '../../format';
import { CommandLine, CopyButton } from '../../parts/copy';
import { Empty, Failure, Loading } from '../../parts/empty';
import { Icon } from '../../parts/icon';
import { State } from '../../parts/state';
import { Tabs } from '../../parts/tabs';
import { UsageCharts } from '../../parts/usage-charts';
import { to } from '../../route';
import { containers } from '../../state';
import type { ContainerDetail, ContainerSummary } from '../../types';
import { t, type Key } from '../../words';
import { askRemove } from '../containers';
import { Details } from './details';
import { Files } from './files';
import { Inspect } from './inspect';
import { Logs } from './logs';
import { Terminals } from './terminals';
import { Why } from './why';

interface TabProps {
  /** Where the files begin. */
  folder?: string;
  detail: ContainerDetail;
  summary: ContainerSummary;
}

const TABS: [Key, (props: TabProps) => ComponentChild][] = [
  ['logs', ({ detail }) => <Logs key={detail.Id} id={detail.Id} name={detail.Name.slice(1)} tty={detail.Config.Tty} started={detail.State.StartedAt} />],
  ['terminal', ({ detail }) => <Terminals key={detail.Id} id={detail.Id} name={detail.Name.slice(1)} state={detail.State} />],
  [
    'stats',
    ({ detail }) =>
      detail.State.Running ? (
        <div class="stack">
          <UsageCharts id={detail.Id} />
          <CommandLine command={`ferry stats ${word(detail.Name.slice(1))}`} />
        </div>
      ) : (
        <Empty icon="containers" title={t('notRunning')} />
      ),
  ],
  ['files', ({ detail, folder }) => <Files key={`${detail.Id}${folder}`} id={detail.Id} name={detail.Name.slice(1)} begin={folder} />],
  ['details', ({ detail, summary }) => <Details detail={detail} summary={summary} />],
  ['inspect', ({ detail }) => <Inspect key={detail.Id} target={path`/containers/${detail.Id}/json`} command={`ferry inspect ${word(detail.Name.slice(1))}`} />],
];

export function Container({ id, tab = 'logs', folder }: { id: string; tab?: string; folder?: string }) {
  useEffect(() => containers.show(), []);
  const list = useCell(containers);
  const summary = list?.find((container) => container.Id === id || nameOf(container) === id);
  const [detail, setDetail] = useState<ContainerDetail>();
  const [error, setError] = useState<ApiError>();
  const changed = summary && `${summary.State} ${summary.Status.replace(/\d+.*/, '')} ${healthOf(summary)} ${nameOf(summary)}`;
  useEffect(() => {
    if (list && !summary) return;
    let gone = false;
    get<ContainerDetail>(path`/containers/${id}/json`).then(
      (answer) => {
        if (gone) return;
        setDetail(answer);
        setError(undefined);
      },
      (failed) => !gone && setError(failed as ApiError),
    );
    return () => {
      gone = true;
    };
  }, [id, changed, list !== undefined]);
  if (list && !summary) {
    return (
      <>
        <Head title={short(id)} />
        <p class="muted">{t('containerGone')}</p>
      </>
    );
  }
  if (error) return <Failure error={error} />;
  if (!detail || !summary) {
    return (
      <>
        <Head title={summary ? nameOf(summary) : short(id)} />
        <Loading />
      </>
    );
  }
  const name = nameOf(summary);
  const draw = TABS.find(([key]) => key === tab)?.[1] ?? TABS[0][1];
  return (
    <div class="container-view">
      <Head title={name}>
        <State state={summary.State} health={healthOf(summary)} />
        <span class="spread">
          {verbsFor(summary.State).map((verb, place) => (
            <button key={verb} class={place === 0 && verb === 'start' ? 'primary' : ''} onClick={() => void act(verb, [summary])}>
              <Icon name={ICONS[verb]} size={15} />
              {t(verb)}
            </button>
          ))}
          <button class="danger" onClick={() => askRemove([summary])}>
            <Icon name="trash" size={15} />
            {t('remove')}
          </button>
        </span>
      </Head>
      <p class="subhead muted">
        <span>{summary.Image}</span>
        <span class="mono">
          {short(detail.Id)} <CopyButton text={detail.Id} label={t('copyId')} />
        </span>
        <span>{t('createdAgo', { ago: ago(new Date(detail.Created)) })}</span>
      </p>
      <Why detail={detail} />
      <Tabs label={name} names={TABS.map(([key]) => key)} now={tab} at={['containers', id]} />
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} class={`panel panel-${tab}`}>
        {draw({ detail, summary, folder })}
      </div>
    </div>
  );
}

function Head({ title, children }: { title: string; children?: ComponentChild }) {
  return (
    <header class="view-head">
      <a class="back" href={to('containers')}>
        {t('containers')}
      </a>
      <span class="muted" aria-hidden="true">
        /
      </span>
      <h1>{title}</h1>
      {children}
    </header>
  );
}
