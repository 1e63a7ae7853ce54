// Copies of a volume: another volume of the same content, and snapshots to come back to. Beyond Docker: another engine has neither.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, path, post, query, remove as removeAt } from '../api';
import { ago, word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Failure } from '../parts/empty';
import { Icon } from '../parts/icon';
import { toast } from '../parts/toast';
import { go } from '../route';
import { volumes } from '../state';
import { t } from '../words';

interface Snapshot {
  Name: string;
  CreatedAt: string;
}

/** Does something, and says that it is done or why not. */
async function attempt(work: () => Promise<unknown>, text: string, command: string): Promise<boolean> {
  try {
    await work();
    toast({ kind: 'done', text, command });
    return true;
  } catch (error) {
    const { message, hint } = error as ApiError;
    toast({ kind: 'failed', text: message, hint });
    return false;
  }
}

function Clone({ volume, close }: { volume: string; close: () => void }) {
  const [name, setName] = useState('');
  const command = `ferry volume clone ${word(volume)} ${word(name || 'copy')}`;
  const done = async () => {
    const made = await attempt(() => post(query(path`/volumes/${volume}/clone`, { name })), t('volumeCloned', { name }), command);
    if (!made) return;
    volumes.later();
    close();
    go('volumes', name);
  };
  return (
    <Dialog title={t('cloneTitle', { name: volume })} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void done();
        }}
      >
        <label>
          {t('name')}
          <input value={name} required onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <p class="muted">{t('standStill')}</p>
        <CommandLine command={command} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit">
            {t('clone')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

interface SureProps {
  title: string;
  text: string;
  command: string;
  action: string;
  done: () => void;
  close: () => void;
}

function Sure({ title, text, command, action, done, close }: SureProps) {
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <CommandLine command={command} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button
          class="primary danger"
          onClick={() => {
            close();
            done();
          }}
        >
          {action}
        </button>
      </footer>
    </Dialog>
  );
}

export function VolumeCopies({ volume }: { volume: string }) {
  const [snapshots, setSnapshots] = useState<Snapshot[]>();
  const [error, setError] = useState<ApiError>();
  const place = path`/volumes/${volume}/snapshots`;
  const load = () =>
    get<Snapshot[]>(place).then(
      (found) => {
        setError(undefined);
        setSnapshots(found);
      },
      (failed: ApiError) => setError(failed),
    );
  useEffect(() => void load(), [volume]);
  // An engine without snapshots takes the path for the name of a volume that is not there.
  if (!snapshots && (!error || error.status === 404)) return null;
  const take = async () => {
    const command = `ferry volume snapshot ${word(volume)}`;
    if (await attempt(() => post(place), t('snapshotTaken'), command)) await load();
  };
  const restore = ({ Name: name }: Snapshot) => {
    const command = `ferry volume restore -f ${word(volume)} ${word(name)}`;
    const done = () => void attempt(() => post(query(path`/volumes/${volume}/restore`, { name })), t('restored', { name: volume }), command);
    ask((close) => <Sure title={t('restoreTitle', { name: volume })} text={t('restoreText')} command={command} action={t('restore')} done={done} close={close} />);
  };
  const drop = ({ Name: name }: Snapshot) => {
    const command = `ferry volume snapshot --rm ${word(volume)} ${word(name)}`;
    const done = () => void attempt(() => removeAt(query(place, { name })), t('snapshotRemoved', { name }), command).then(load);
    ask((close) => <Sure title={t('removeTitle', { name })} text={t('removeSnapshotText')} command={command} action={t('remove')} done={done} close={close} />);
  };
  return (
    <section class="card">
      <div class="card-head wrap">
        <h2>{t('snapshots')}</h2>
        <span class="buttons">
          <button onClick={() => void take()}>
            <Icon name="plus" size={15} />
            {t('takeSnapshot')}
          </button>
          <button onClick={() => ask((close) => <Clone volume={volume} close={close} />)}>
            <Icon name="copy" size={15} />
            {t('clone')}
          </button>
        </span>
      </div>
      {error && <Failure error={error} />}
      {snapshots?.length === 0 && <p class="muted">{t('noSnapshots')}</p>}
      {snapshots && snapshots.length > 0 && (
        <ul class="plain snapshots">
          {snapshots.map((snapshot) => (
            <li key={snapshot.Name}>
              <span class="mono">{snapshot.Name}</span>
              <span class="muted">{ago(new Date(snapshot.CreatedAt))}</span>
              <span class="buttons">
                <button aria-label={`${t('restore')} ${snapshot.Name}`} onClick={() => restore(snapshot)}>
                  <Icon name="restart" size={15} />
                  {t('restore')}
                </button>
                <button class="ghost icon-only" title={t('remove')} aria-label={`${t('remove')} ${snapshot.Name}`} onClick={() => drop(snapshot)}>
                  <Icon name="trash" size={16} />
                </button>
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
