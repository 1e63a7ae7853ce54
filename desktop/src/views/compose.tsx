// Compose projects: their services, what depends on what, and all of them at once.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { ApiError, get, path, query, remove as removeAt, tunnel } from '../api';
import { useCell } from '../cell';
import { PROJECT, SERVICE, act, healthOf, nameOf } from '../container';
import { word } from '../format';
import { Demux, LogStore } from '../log';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { LogView } from '../parts/log-view';
import { State } from '../parts/state';
import { toast } from '../parts/toast';
import { to } from '../route';
import { containers, networks } from '../state';
import type { ContainerDetail, ContainerSummary, Network } from '../types';
import { t } from '../words';

const DEPENDS = 'com.docker.compose.depends_on';
const FILES = 'com.docker.compose.project.config_files';

interface Project {
  name: string;
  file: string;
  containers: ContainerSummary[];
}

export function projects(all: ContainerSummary[]): Project[] {
  const found = new Map<string, Project>();
  for (const container of all) {
    const name = container.Labels?.[PROJECT];
    if (!name) continue;
    const project = found.get(name) ?? { name, file: container.Labels?.[FILES] ?? '', containers: [] };
    project.containers.push(container);
    found.set(name, project);
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

interface Service {
  name: string;
  containers: ContainerSummary[];
  needs: string[];
  /** How many steps from one that needs nothing. */
  depth: number;
}

/** Services in the order in which they start. `db:service_healthy:true,cache:…` is how Compose notes what one needs. */
export function services(project: Project): Service[] {
  const found = new Map<string, Service>();
  for (const container of project.containers) {
    const name = container.Labels?.[SERVICE] ?? nameOf(container);
    const needs = (container.Labels?.[DEPENDS] ?? '').split(',').filter(Boolean).map((one) => one.split(':')[0]);
    const service = found.get(name) ?? { name, containers: [], needs, depth: 0 };
    service.containers.push(container);
    found.set(name, service);
  }
  const depth = (name: string, seen: string[]): number => {
    const needs = found.get(name)?.needs ?? [];
    return seen.includes(name) ? 0 : Math.max(0, ...needs.map((need) => depth(need, [...seen, name]) + 1));
  };
  for (const service of found.values()) service.depth = depth(service.name, []);
  return [...found.values()].sort((a, b) => a.depth - b.depth || a.name.localeCompare(b.name));
}

async function removeProject(project: Project): Promise<void> {
  const command = `ferry compose -p ${word(project.name)} down`;
  try {
    await Promise.all(project.containers.map((container) => removeAt(query(path`/containers/${container.Id}`, { force: true }))));
    const own = (await get<Network[]>('/networks')).filter((network) => network.Labels?.[PROJECT] === project.name);
    await Promise.all(own.map((network) => removeAt(path`/networks/${network.Id}`)));
    toast({ kind: 'done', text: t('removed', { name: project.name }), command });
  } catch (error) {
    toast({ kind: 'failed', text: (error as ApiError).message });
  }
  containers.later();
  networks.later();
}

function askRemove(project: Project): void {
  ask((close) => (
    <Dialog title={t('removeTitle', { name: project.name })} close={close}>
      <p>{t('removeProjectText')}</p>
      <CommandLine command={`ferry compose -p ${word(project.name)} down`} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button
          class="primary danger"
          onClick={() => {
            close();
            void removeProject(project);
          }}
        >
          {t('remove')}
        </button>
      </footer>
    </Dialog>
  ));
}

const BOX = { width: 190, height: 54, gapX: 70, gapY: 16 };

function Graph({ all }: { all: Service[] }) {
  const columns = new Map<number, Service[]>();
  for (const service of all) columns.set(service.depth, [...(columns.get(service.depth) ?? []), service]);
  const place = new Map<string, { x: number; y: number }>();
  for (const [depth, column] of columns) {
    column.forEach((service, row) => place.set(service.name, { x: depth * (BOX.width + BOX.gapX) + 2, y: row * (BOX.height + BOX.gapY) + 2 }));
  }
  const width = (Math.max(...columns.keys()) + 1) * (BOX.width + BOX.gapX) - BOX.gapX + 4;
  const height = Math.max(...[...columns.values()].map((column) => column.length)) * (BOX.height + BOX.gapY) - BOX.gapY + 4;
  return (
    <div class="picture-scroll picture" tabIndex={0} role="group" aria-label={t('graph')}>
      <svg viewBox={`0 0 ${width} ${height}`} style={{ width: `${width}px`, height: `${height}px` }} role="group" aria-label={t('graph')}>
        {all.flatMap((service) =>
          service.needs.map((need) => {
            const from = place.get(need);
            const end = place.get(service.name)!;
            if (!from) return null;
            const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + BOX.height / 2, end.x, end.y + BOX.height / 2];
            return <path key={`${need} ${service.name}`} class="picture-line port" d={`M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`} />;
          }),
        )}
        {all.map((service) => {
          const { x, y } = place.get(service.name)!;
          const running = service.containers.filter((container) => container.State === 'running').length;
          const ill = service.containers.map(healthOf).find((health) => health === 'unhealthy') ?? service.containers.map(healthOf).find((health) => health === 'starting') ?? '';
          return (
            <a key={service.name} href={to('containers', service.containers[0].Id)}>
              {service.needs.length > 0 && <title>{t('dependsOn', { names: service.needs.join(', ') })}</title>}
              <rect class="picture-box" x={x} y={y} width={BOX.width} height={BOX.height} rx="9" />
              <circle class={`picture-dot ${running ? 'running' : 'exited'} ${ill}`} cx={x + 18} cy={y + BOX.height / 2} r="4.500" />
              <text class="picture-name" x={x + 34} y={y + 24}>
                {service.name.slice(0, 20)}
              </text>
              <text class="picture-note" x={x + 34} y={y + 41}>
                {t('serviceCount', { running, all: service.containers.length })}
              </text>
            </a>
          );
        })}
      </svg>
    </div>
  );
}

export function Compose() {
  useEffect(() => containers.show(), []);
  const all = useCell(containers);
  const error = useCell(containers.error);
  const found = projects(all ?? []);
  return (
    <>
      <header class="view-head">
        <h1>{t('compose')}</h1>
      </header>
      {error && <Failure error={error} />}
      {!all && !error && <Loading />}
      {all && found.length === 0 && (
        <Empty icon="compose" title={t('noProjects')} text={t('noProjectsText')}>
          <CommandLine command="ferry compose up -d" />
        </Empty>
      )}
      <div class="stack">
        {found.map((project) => {
          const running = project.containers.filter((container) => container.State === 'running');
          const ended = project.containers.filter((container) => ['exited', 'created'].includes(container.State));
          return (
            <section class="card" key={project.name}>
              <div class="card-head wrap">
                <h2>
                  <a href={to('compose', project.name)}>{project.name}</a> <span class="muted">{t('serviceCount', { running: running.length, all: project.containers.length })}</span>
                </h2>
                <span class="buttons">
                  {ended.length > 0 && (
                    <button onClick={() => void act('start', ended)}>
                      <Icon name="play" size={15} />
                      {t('startAll')}
                    </button>
                  )}
                  {running.length > 0 && (
                    <>
                      <button onClick={() => void act('stop', running)}>
                        <Icon name="stop" size={15} />
                        {t('stopAll')}
                      </button>
                      <button onClick={() => void act('restart', running)}>
                        <Icon name="restart" size={15} />
                        {t('restartAll')}
                      </button>
                    </>
                  )}
                  <a class="button" href={to('compose', project.name)}>
                    <Icon name="file" size={15} />
                    {t('allLogs')}
                  </a>
                  <button class="danger" onClick={() => askRemove(project)}>
                    <Icon name="trash" size={15} />
                    {t('remove')}
                  </button>
                </span>
              </div>
              <Graph all={services(project)} />
              {project.file && (
                <p class="muted small">
                  {t('projectFiles')} <code>{project.file}</code>
                </p>
              )}
            </section>
          );
        })}
      </div>
    </>
  );
}

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

export function ProjectPage({ name }: { name: string }) {
  useEffect(() => containers.show(), []);
  const project = projects(useCell(containers) ?? []).find((one) => one.name === name);
  const [follow, setFollow] = useState(true);
  const members = project?.containers ?? [];
  const { store, who, version } = useLogs(members);
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
      </header>
      <div class="members">
        {members.map((container) => (
          <a key={container.Id} class="button" href={to('containers', container.Id)}>
            {container.Labels?.[SERVICE] ?? nameOf(container)} <State state={container.State} health={healthOf(container)} />
          </a>
        ))}
      </div>
      <div class="panel-logs">
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
            <CommandLine command={`ferry compose -p ${word(name)} logs -f`} />
          </div>
        </div>
      </div>
    </div>
  );
}
