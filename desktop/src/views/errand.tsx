// Compose at work: what it says, and how it came out.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get, path, query, remove as removeAt, type Tunnel } from '../api';
import { composeWords, errand, type Project } from '../compose';
import { PROJECT } from '../container';
import { word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Failure } from '../parts/empty';
import { toast } from '../parts/toast';
import { containers, networks } from '../state';
import type { Network } from '../types';
import { t } from '../words';

interface ErrandProps {
  project: Project;
  verb: 'up' | 'down';
  close: () => void;
}

function ErrandDialog({ project, verb, close }: ErrandProps) {
  const [volumes, setVolumes] = useState(false);
  const [state, setState] = useState<'asked' | 'under' | 'done'>(verb === 'up' ? 'under' : 'asked');
  const [text, setText] = useState('');
  const [error, setError] = useState<ApiError>();
  const line = useRef<Tunnel | undefined>(undefined);
  const said = useRef<HTMLPreElement>(null);
  const start = () => {
    setState('under');
    setError(undefined);
    setText('');
    line.current = errand(
      project,
      verb,
      volumes,
      (more) => setText((before) => before + more),
      (failed) => {
        setError(failed);
        setState('done');
        containers.later();
        networks.later();
      },
    );
  };
  useEffect(() => {
    if (verb === 'up') start();
    return () => line.current?.close();
  }, []);
  useEffect(() => {
    if (said.current) said.current.scrollTop = said.current.scrollHeight;
  }, [text]);
  return (
    <Dialog title={t(verb === 'up' ? 'upTitle' : 'downTitle', { name: project.name })} close={close} wide>
      {verb === 'down' && state === 'asked' && (
        <>
          <p>{t('downText')}</p>
          <label class="choice">
            <input type="checkbox" checked={volumes} onChange={(event) => setVolumes(event.currentTarget.checked)} />
            {t('downVolumes')}
          </label>
        </>
      )}
      {text && (
        <pre class="step-log" ref={said} tabIndex={0} aria-label={t('output')}>
          {text}
        </pre>
      )}
      {error && <Failure error={error} />}
      <p role="status" class="muted">
        {state === 'under' ? t('underWay') : state === 'done' && !error ? t('errandDone') : ''}
      </p>
      <CommandLine command={composeWords(project, verb === 'up' ? 'up -d' : volumes ? 'down -v' : 'down', word)} />
      <footer>
        <button onClick={close}>{t(state === 'done' ? 'close' : 'cancel')}</button>
        {state === 'asked' && (
          <button class="primary danger" onClick={start}>
            {t('down')}
          </button>
        )}
      </footer>
    </Dialog>
  );
}

export const askUp = (project: Project) => ask((close) => <ErrandDialog project={project} verb="up" close={close} />);
const askErrandDown = (project: Project) => ask((close) => <ErrandDialog project={project} verb="down" close={close} />);

/** Without the files: by the labels. */
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

export function askDown(project: Project): void {
  if (project.files) return askErrandDown(project);
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
