// Compose projects: those that are there, and those that were.

import { useEffect, useState } from 'preact/hooks';
import { useCell } from '../cell';
import { composeWords, forget, known, projects, remember, services, type Project } from '../compose';
import { act } from '../container';
import { word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { go, to } from '../route';
import { containers } from '../state';
import { t } from '../words';
import { askDown, askUp } from './errand';
import { Graph } from './service-graph';

function OpenDialog({ close }: { close: () => void }) {
  const [file, setFile] = useState('');
  const folder = file.trim().replace(/\/[^/]*$/, '');
  const name = (folder.split('/').pop() ?? '').toLowerCase().replace(/[^a-z0-9_-]/g, '').replace(/^[^a-z0-9]+/, '');
  const good = /^\/.*\.ya?ml$/.test(file.trim()) && name !== '';
  return (
    <Dialog title={t('openProject')} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          remember({ name, files: file.trim(), directory: folder });
          close();
          go('compose', name, 'composeFile');
        }}
      >
        <label>
          {t('composePath')}
          <input value={file} placeholder="/srv/shop/compose.yaml" required onInput={(event) => setFile(event.currentTarget.value)} />
        </label>
        <p class="muted small">{t('openProjectText')}</p>
        <CommandLine command={composeWords({ name, files: file.trim() || 'compose.yaml', directory: folder }, 'up -d', word)} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit" disabled={!good}>
            {t('openProject')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Card({ project }: { project: Project }) {
  const running = project.containers.filter((container) => container.State === 'running');
  const ended = project.containers.filter((container) => ['exited', 'created'].includes(container.State));
  const there = project.containers.length > 0;
  return (
    <section class="card">
      <div class="card-head wrap">
        <h2>
          <a href={to('compose', project.name)}>{project.name}</a> <span class="muted">{there ? t('serviceCount', { running: running.length, all: project.containers.length }) : t('notUp')}</span>
        </h2>
        <span class="buttons">
          {project.files && (
            <button onClick={() => askUp(project)}>
              <Icon name="play" size={15} />
              {t('up')}
            </button>
          )}
          {ended.length > 0 && !project.files && (
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
          {there && (
            <>
              <a class="button" href={to('compose', project.name, 'logs')}>
                <Icon name="file" size={15} />
                {t('allLogs')}
              </a>
              <button class="danger" onClick={() => askDown(project)}>
                <Icon name="trash" size={15} />
                {t('down')}
              </button>
            </>
          )}
          {!there && (
            <button class="ghost" onClick={() => forget(project.name)}>
              {t('forget')}
            </button>
          )}
        </span>
      </div>
      {there && <Graph all={services(project)} />}
      {project.files && (
        <p class="muted small cut">
          {t('projectFiles')} <a href={to('compose', project.name, 'composeFile')}>{project.files}</a>
        </p>
      )}
    </section>
  );
}

export function Compose() {
  useEffect(() => containers.show(), []);
  const all = useCell(containers);
  const once = useCell(known);
  const error = useCell(containers.error);
  const found = projects(all ?? [], once);
  useEffect(() => found.forEach(remember), [all]);
  return (
    <>
      <header class="view-head">
        <h1>{t('compose')}</h1>
        <span class="spread">
          <button onClick={() => ask((close) => <OpenDialog close={close} />)}>
            <Icon name="folder" size={15} />
            {t('openProject')}
          </button>
        </span>
      </header>
      {error && <Failure error={error} />}
      {!all && !error && <Loading />}
      {all && found.length === 0 && (
        <Empty icon="compose" title={t('noProjects')} text={t('noProjectsText')}>
          <CommandLine command="ferry compose up -d" />
        </Empty>
      )}
      <div class="stack">
        {found.map((project) => (
          <Card key={project.name} project={project} />
        ))}
      </div>
    </>
  );
}
