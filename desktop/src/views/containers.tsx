// All containers: search, filters, groups by project, and what can be done to several at once.

import { useEffect, useState } from 'preact/hooks';
import { remembered, useCell } from '../cell';
import { PROJECT, ICONS, act, called, command, healthOf, nameOf, published, removeAll, verbsFor, type Verb } from '../container';
import { ago, short } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { Menu } from '../parts/menu';
import { Search } from '../parts/search';
import { State } from '../parts/state';
import { go, to } from '../route';
import { containers } from '../state';
import type { ContainerSummary } from '../types';
import { t } from '../words';

const FILTERS = ['all', 'running', 'stoppedOnes'] as const;
const filter = remembered('containers.filter', 'all', FILTERS);
const grouped = remembered<'yes' | 'no'>('containers.grouped', 'no', ['yes', 'no']);

function RemoveDialog({ chosen, close }: { chosen: ContainerSummary[]; close: () => void }) {
  const [withVolumes, setWithVolumes] = useState(false);
  const names = chosen.map(nameOf);
  const force = chosen.some((container) => container.State === 'running');
  const words = ['rm', ...(force ? ['-f'] : []), ...(withVolumes ? ['-v'] : [])].join(' ');
  return (
    <Dialog title={t('removeTitle', { name: called(names) })} close={close}>
      <p>
        {force && <strong>{t('removeForce')} </strong>}
        {t('removeText')}
      </p>
      <label class="choice">
        <input type="checkbox" checked={withVolumes} onChange={(event) => setWithVolumes(event.currentTarget.checked)} />
        {t('removeVolumes')}
      </label>
      <CommandLine command={command(words, names)} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button
          class="primary danger"
          onClick={() => {
            close();
            void removeAll(chosen, withVolumes);
          }}
        >
          {t('remove')}
        </button>
      </footer>
    </Dialog>
  );
}

export function askRemove(chosen: ContainerSummary[]): void {
  ask((close) => <RemoveDialog chosen={chosen} close={close} />);
}

function Ports({ container }: { container: ContainerSummary }) {
  const ports = published(container.Ports);
  return (
    <span class="ports">
      {ports.slice(0, 2).map((port) =>
        port.Type === 'tcp' ? (
          <a key={port.PublicPort} href={`http://${location.hostname}:${port.PublicPort}/`} target="_blank" rel="noopener noreferrer">
            {port.PublicPort}→{port.PrivatePort}
          </a>
        ) : (
          <span key={port.PublicPort}>
            {port.PublicPort}→{port.PrivatePort}/{port.Type}
          </span>
        ),
      )}
      {ports.length > 2 && <span class="muted">+{ports.length - 2}</span>}
    </span>
  );
}

function Actions({ container }: { container: ContainerSummary }) {
  const name = nameOf(container);
  const [first, ...rest] = verbsFor(container.State);
  return (
    <span class="row-actions">
      {first && (
        <button class="ghost icon-only" title={t(first)} aria-label={`${t(first)} ${name}`} onClick={() => void act(first, [container])}>
          <Icon name={ICONS[first]} />
        </button>
      )}
      <Menu
        label={t('actionsFor', { name })}
        items={[
          ...rest.map((verb) => ({ text: t(verb), icon: ICONS[verb], run: () => void act(verb, [container]) })),
          { text: t('remove'), icon: 'trash' as const, danger: true, run: () => askRemove([container]) },
        ]}
      />
    </span>
  );
}

/** The exit code of what ended badly. */
function note(container: ContainerSummary): string {
  return /^Exited \((?!0\))(\d+)\)/.exec(container.Status)?.[1] ?? '';
}

function columns(): Column<ContainerSummary>[] {
  return [
    {
      key: 'name',
      title: t('name'),
      width: 'minmax(0, 2.4fr)',
      sort: nameOf,
      cell: (container) => (
        <a class="name" href={to('containers', container.Id)} title={nameOf(container)}>
          {nameOf(container)}
          <span class="muted small mono">{short(container.Id)}</span>
        </a>
      ),
    },
    {
      key: 'state',
      title: t('status'),
      width: 'minmax(150px, 1fr)',
      narrow: '92px',
      sort: (container) => container.State,
      cell: (container) => <State state={container.State} health={healthOf(container)} note={note(container)} />,
    },
    {
      key: 'image',
      title: t('image'),
      width: 'minmax(0, 1.3fr)',
      wide: true,
      sort: (container) => container.Image,
      cell: (container) => <span class="cut" title={container.Image}>{container.Image.startsWith('sha256:') ? short(container.Image) : container.Image}</span>,
    },
    { key: 'ports', title: t('ports'), width: 'minmax(0, 1fr)', wide: true, cell: (container) => <Ports container={container} /> },
    {
      key: 'created',
      title: t('created'),
      width: '128px',
      wide: true,
      sort: (container) => -container.Created,
      cell: (container) => <span class="muted cut">{ago(new Date(container.Created * 1000))}</span>,
    },
    { key: 'actions', title: '', width: '84px', narrow: '66px', end: true, cell: (container) => <Actions container={container} /> },
  ];
}

function matches(container: ContainerSummary, text: string): boolean {
  if (text === '') return true;
  const labels = Object.entries(container.Labels ?? {}).map(([name, value]) => `${name}=${value}`);
  const all = [...container.Names, container.Image, container.Id, container.Command, ...labels].join('\n').toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

function Chosen({ chosen, clear }: { chosen: ContainerSummary[]; clear: () => void }) {
  const verbs = (['start', 'stop', 'restart', 'pause', 'unpause'] as Verb[]).filter((verb) => chosen.some((container) => verbsFor(container.State).includes(verb)));
  const able = (verb: Verb) => chosen.filter((container) => verbsFor(container.State).includes(verb));
  return (
    <div class="chosen" role="toolbar" aria-label={t('actions')}>
      <strong>{t('selected', { count: chosen.length })}</strong>
      {verbs.map((verb) => (
        <button key={verb} onClick={() => void act(verb, able(verb))}>
          <Icon name={ICONS[verb]} size={15} />
          {t(verb)}
        </button>
      ))}
      <button class="danger" onClick={() => askRemove(chosen)}>
        <Icon name="trash" size={15} />
        {t('remove')}
      </button>
      <button class="ghost" onClick={clear}>
        {t('clear')}
      </button>
    </div>
  );
}

export function Containers() {
  useEffect(() => containers.show(), []);
  const all = useCell(containers);
  const error = useCell(containers.error);
  const wanted = useCell(filter);
  const inGroups = useCell(grouped) === 'yes';
  const [text, setText] = useState('');
  const [selected, select] = useState(new Set<string>());
  const rows = (all ?? []).filter((container) => {
    const running = ['running', 'paused', 'restarting'].includes(container.State);
    return (wanted === 'all' || (wanted === 'running') === running) && matches(container, text);
  });
  const chosen = rows.filter((container) => selected.has(container.Id));
  const groups = new Map<string, ContainerSummary[]>();
  for (const container of rows) {
    const project = inGroups ? (container.Labels?.[PROJECT] ?? '') : '';
    groups.set(project, [...(groups.get(project) ?? []), container]);
  }
  const names = [...groups.keys()].sort((a, b) => (a === '' ? 1 : b === '' ? -1 : a.localeCompare(b)));
  return (
    <>
      <header class="view-head">
        <h1>{t('containers')}</h1>
      </header>
      {error && <Failure error={error} />}
      <div class="tools">
        <Search text={text} change={setText} hint={t('searchContainers')} />
        <div class="segments" role="group" aria-label={t('status')}>
          {FILTERS.map((name) => (
            <button key={name} aria-pressed={wanted === name} onClick={() => (filter.value = name)}>
              {t(name)}
            </button>
          ))}
        </div>
        <label class="choice">
          <input type="checkbox" checked={inGroups} onChange={(event) => (grouped.value = event.currentTarget.checked ? 'yes' : 'no')} />
          {t('group')}
        </label>
      </div>
      {chosen.length > 0 && <Chosen chosen={chosen} clear={() => select(new Set())} />}
      {!all && !error && <Loading />}
      {all?.length === 0 && (
        <Empty icon="containers" title={t('noContainers')} text={t('noContainersText')}>
          <CommandLine command="ferry run -d --name welcome -p 8080:80 ferry/welcome" />
        </Empty>
      )}
      {all && all.length > 0 && rows.length === 0 && <Empty icon="search" title={t('noMatch')} text={t('noMatchText')} />}
      {names.map((project) => (
        <section key={project}>
          {inGroups && (
            <h2 class="group-title">
              {project || t('noProject')} <span class="muted">{groups.get(project)!.length}</span>
            </h2>
          )}
          <List
            label={project || t('containers')}
            rows={groups.get(project)!}
            columns={columns()}
            id={(container) => container.Id}
            name={nameOf}
            open={(container) => go('containers', container.Id)}
            selected={selected}
            select={select}
          />
        </section>
      ))}
    </>
  );
}
