// One Compose project: its services, its files, what `up` would do, and the logs of all.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { ApiError, get, path, query, send, tunnel } from '../api';
import { useCell } from '../cell';
import { changes, composeWords, errand, known, projects, remember, services, type Project } from '../compose';
import { SERVICE, act, healthOf, nameOf } from '../container';
import { word } from '../format';
import { Demux, LogStore } from '../log';
import { CommandLine } from '../parts/copy';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { LogView } from '../parts/log-view';
import { State } from '../parts/state';
import { Tabs } from '../parts/tabs';
import { to } from '../route';
import { containers } from '../state';
import type { ContainerDetail, ContainerSummary } from '../types';
import { t } from '../words';
import { askDown, askUp } from './errand';
import { Graph } from './service-graph';

/** The logs of all containers of a project, in the order in which lines came. */
function useLogs(all: ContainerSummary[]) {
  const [version, setVersion] = useState(0);
  const ids = all.map((container) => container.Id).join(' ');
  const { store, who } = useMemo(() => ({ store: new LogStore(), who: [] as number[] }), [ids]);
  useEffect(() => {
    let drawing = 0;
    let closed = false;
    const again = () => {
      drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        setVersion((count) => count + 1);
      });
    };
    const open = all.map(async (container, place) => {
      const detail = await get<ContainerDetail>(path`/containers/${container.Id}/json`);
      if (closed) return undefined;
      const demux = new Demux(detail.Config.Tty, (isError, text) => {
        store.push(isError, text);
        who.push(place);
      });
      return tunnel(
        { path: query(path`/containers/${container.Id}/logs`, { stdout: true, stderr: true, follow: true, timestamps: true, tail: 500 }) },
        {
          data: (bytes) => {
            demux.take(bytes);
            again();
          },
        },
      );
    });
    return () => {
      closed = true;
      cancelAnimationFrame(drawing);
      for (const line of open) void line.then((tunnel) => tunnel?.close(), () => undefined);
    };
  }, [ids]);
  return { store, who, version };
}


function Logs({ project }: { project: Project }) {
  const [follow, setFollow] = useState(true);
  const members = project.containers;
  const { store, who, version } = useLogs(members);
  return (
      <div class="log-panel">
        <LogView
          store={store}
          version={version}
          times
          follow={follow}
          setFollow={setFollow}
          label={t('allLogs')}
          name={(place) => {
            const container = members[who[place + store.first] ?? 0];
            return { text: container?.Labels?.[SERVICE] ?? (container ? nameOf(container) : ''), hue: (who[place + store.first] ?? 0) % 6 };
          }}
        />
        <div class="log-foot">
          <CommandLine command={`ferry compose -p ${word(project.name)} logs -f`} />
        </div>
      </div>
  );
}

/** What a command of Compose says, once. */
function useSaid(project: Project, verb: 'diff' | 'config', wanted: boolean) {
  const [state, setState] = useState<{ text: string; done: boolean; error?: ApiError }>({ text: '', done: false });
  const ids = project.containers.map((container) => container.Id + container.State).join(' ');
  useEffect(() => {
    if (!wanted) return;
    let text = '';
    setState({ text, done: false });
    const line = errand(project, verb, false, (more) => (text += more), (error) => setState({ text, done: true, error: error && (text ? new ApiError(error.status, text.trim()) : error) }));
    return () => line.close();
  }, [project.files, verb, wanted, ids]);
  return state;
}

function Files({ project }: { project: Project }) {
  const [read, setRead] = useState(false);
  const [texts, setTexts] = useState<{ path: string; text: string }[]>();
  const [error, setError] = useState<ApiError>();
  const said = useSaid(project, 'config', read);
  useEffect(() => {
    const load = async () => {
      const response = await send(query('/files/compose', { files: project.files }));
      const told = (await response.json()) as { files?: { path: string; text: string }[]; message?: string; hint?: string };
      if (response.ok) setTexts(told.files);
      else setError(new ApiError(response.status, told.message ?? '', told.hint));
    };
    void load();
  }, [project.files]);
  return (
    <div class="stack">
      <div class="segments start" role="group" aria-label={t('composeFile')}>
        <button aria-pressed={!read} onClick={() => setRead(false)}>
          {t('asWritten')}
        </button>
        <button aria-pressed={read} onClick={() => setRead(true)}>
          {t('resolved')}
        </button>
      </div>
      {!read && error && <Failure error={error} />}
      {!read &&
        texts?.map(({ path: file, text }) => (
          <section key={file}>
            <h2 class="group-title mono">{file}</h2>
            <pre class="source tall" tabIndex={0} aria-label={file}>
              {text}
            </pre>
          </section>
        ))}
      {read && said.error && <Failure error={said.error} />}
      {read && !said.done && <Loading />}
      {read && said.done && !said.error && (
        <pre class="source tall" tabIndex={0} aria-label={t('resolved')}>
          {said.text}
        </pre>
      )}
      <CommandLine command={composeWords(project, 'config', word)} />
    </div>
  );
}

const SIGNS = { create: '+', remove: '−', change: '~' } as const;

function Plan({ project }: { project: Project }) {
  const said = useSaid(project, 'diff', true);
  const all = changes(said.text);
  const warnings = said.text.split('\n').flatMap((line) => /^WARN\[\d+\]\s*(.*)/.exec(line)?.[1] ?? []);
  return (
    <section class="card">
      <p class="muted">{t('planText')}</p>
      {said.error && <Failure error={said.error} />}
      {!said.done && <Loading />}
      {warnings.map((text) => (
        <div class="notice" key={text}>
          <Icon name="warning" />
          <div lang="en">{text}</div>
        </div>
      ))}
      {said.done && !said.error && all.length === 0 && (
        <p class="fine">
          <Icon name="check" size={16} />
          {t('planEmpty')}
        </p>
      )}
      <ul class="plan">
        {all.map(({ kind, what, why }, place) => (
          <li key={place} class={kind}>
            <span class="plan-sign" aria-hidden="true">
              {SIGNS[kind]}
            </span>
            <code>{what}</code>
            <span class="muted">{why}</span>
          </li>
        ))}
      </ul>
      <CommandLine command={composeWords(project, 'diff', word)} />
    </section>
  );
}

const TABS = ['services', 'logs', 'composeFile', 'plan'] as const;

function Buttons({ project }: { project: Project }) {
  const running = project.containers.filter((container) => container.State === 'running');
  return (
    <span class="spread buttons">
      {project.files && (
        <button class="primary" onClick={() => askUp(project)}>
          <Icon name="play" size={15} />
          {t('up')}
        </button>
      )}
      {running.length > 0 && (
        <button onClick={() => void act('restart', running)}>
          <Icon name="restart" size={15} />
          {t('restartAll')}
        </button>
      )}
      {project.containers.length > 0 && (
        <button class="danger" onClick={() => askDown(project)}>
          <Icon name="stop" size={15} />
          {t('down')}
        </button>
      )}
    </span>
  );
}

export function ProjectPage({ name, tab = 'services' }: { name: string; tab?: string }) {
  useEffect(() => containers.show(), []);
  const all = useCell(containers);
  const once = useCell(known);
  const project = projects(all ?? [], once).find((one) => one.name === name);
  useEffect(() => {
    if (project) remember(project);
  }, [project?.files]);
  if (!project) return all ? <Empty icon="compose" title={t('noProjects')} /> : <Loading />;
  const now = TABS.find((one) => one === tab) ?? 'services';
  const needsFile = now === 'composeFile' || now === 'plan';
  return (
    <div class="container-view">
      <header class="view-head">
        <a class="back" href={to('compose')}>
          {t('compose')}
        </a>
        <span class="muted" aria-hidden="true">
          /
        </span>
        <h1>{name}</h1>
        <Buttons project={project} />
      </header>
      <Tabs label={name} names={TABS} now={now} at={['compose', name]} />
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${now}`} class={now === 'logs' ? 'panel panel-logs' : 'panel'}>
      {needsFile && !project.files && <Empty icon="file" title={t('noFiles')} />}
      {now === 'services' && <Services project={project} />}
      {now === 'logs' && <Logs project={project} />}
      {now === 'composeFile' && project.files && <Files project={project} />}
      {now === 'plan' && project.files && <Plan project={project} />}
      </div>
    </div>
  );
}

function Services({ project }: { project: Project }) {
  if (project.containers.length === 0) return <Empty icon="compose" title={t('notUp')}>{project.files && <CommandLine command={composeWords(project, 'up -d', word)} />}</Empty>;
  return (
    <div class="stack">
      <Graph all={services(project)} />
      <ul class="members">
        {project.containers.map((container) => (
          <li key={container.Id}>
            <a class="button" href={to('containers', container.Id)}>
              {container.Labels?.[SERVICE] ?? nameOf(container)} <State state={container.State} health={healthOf(container)} />
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
