// Volumes: how large, and who uses them.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, path, post, remove as removeAt } from '../api';
import { useCell } from '../cell';
import { nameOf } from '../container';
import { ago, bytes, short, word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { Search } from '../parts/search';
import { toast } from '../parts/toast';
import { go, to } from '../route';
import { containers, disk, volumes } from '../state';
import type { ContainerSummary, Volume } from '../types';
import { t } from '../words';
import { Inspect } from './container/inspect';
import { askPrune } from './prune';
import { VolumeCopies } from './volume-copies';
import { VolumeFiles } from './volume-files';

const anonymous = (name: string) => /^[0-9a-f]{64}$/.test(name);

/** Who mounts each volume. */
function useUsers(): Map<string, ContainerSummary[]> {
  useEffect(() => containers.show(), []);
  const users = new Map<string, ContainerSummary[]>();
  for (const container of useCell(containers) ?? []) {
    for (const mount of container.Mounts) {
      if (mount.Type === 'volume' && mount.Name) users.set(mount.Name, [...(users.get(mount.Name) ?? []), container]);
    }
  }
  return users;
}

function useSizes(): Map<string, number> {
  useEffect(() => disk.show(), []);
  return new Map((useCell(disk)?.Volumes ?? []).map((volume) => [volume.Name, volume.UsageData?.Size ?? -1]));
}

function Create({ close }: { close: () => void }) {
  const [name, setName] = useState('');
  const done = async () => {
    try {
      await post('/volumes/create', { Name: name });
      toast({ kind: 'done', text: t('volumeCreated', { name }), command: `ferry volume create ${word(name)}` });
      close();
    } catch (error) {
      toast({ kind: 'failed', text: (error as ApiError).message });
    }
  };
  return (
    <Dialog title={t('newVolume')} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void done();
        }}
      >
        <label>
          {t('name')}
          <input value={name} required autofocus onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <CommandLine command={`ferry volume create ${word(name || 'data')}`} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit">
            {t('createVolume')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Remove({ name, close }: { name: string; close: () => void }) {
  const command = `ferry volume rm ${word(name)}`;
  const done = async () => {
    close();
    try {
      await removeAt(path`/volumes/${name}`);
      toast({ kind: 'done', text: t('volumeRemoved', { name: short(name) }), command });
      volumes.later();
    } catch (error) {
      toast({ kind: 'failed', text: (error as ApiError).message });
    }
  };
  return (
    <Dialog title={t('removeTitle', { name: anonymous(name) ? short(name) : name })} close={close}>
      <p>{t('removeVolumeText')}</p>
      <CommandLine command={command} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button class="primary danger" onClick={() => void done()}>
          {t('remove')}
        </button>
      </footer>
    </Dialog>
  );
}

const askRemove = (name: string) => ask((close) => <Remove name={name} close={close} />);

function Users({ users }: { users: ContainerSummary[] }) {
  if (users.length === 0) return <span class="muted">{t('unused')}</span>;
  return (
    <span class="ports cut">
      {users.map((container) => (
        <a key={container.Id} href={to('containers', container.Id)}>
          {nameOf(container)}
        </a>
      ))}
    </span>
  );
}

export function Volumes() {
  useEffect(() => volumes.show(), []);
  const all = useCell(volumes);
  const error = useCell(volumes.error);
  const users = useUsers();
  const sizes = useSizes();
  const [text, setText] = useState('');
  const rows = (all ?? []).filter((volume) => volume.Name.includes(text));
  const columns: Column<Volume>[] = [
    {
      key: 'name',
      title: t('name'),
      width: 'minmax(0, 2fr)',
      sort: (volume) => `${anonymous(volume.Name) ? 1 : 0}${volume.Name}`,
      cell: (volume) => (
        <a class="name" href={to('volumes', volume.Name)}>
          {anonymous(volume.Name) ? <span class="mono">{short(volume.Name)}</span> : volume.Name}
          {anonymous(volume.Name) && <span class="muted small">{t('anonymous')}</span>}
        </a>
      ),
    },
    { key: 'users', title: t('usedBy'), width: 'minmax(0, 2fr)', sort: (volume) => -(users.get(volume.Name)?.length ?? 0), cell: (volume) => <Users users={users.get(volume.Name) ?? []} /> },
    { key: 'driver', title: t('driver'), width: '90px', wide: true, cell: (volume) => <span class="muted">{volume.Driver}</span> },
    { key: 'created', title: t('created'), width: 'minmax(0, 1fr)', wide: true, cell: (volume) => <span class="muted">{volume.CreatedAt ? ago(new Date(volume.CreatedAt)) : ''}</span> },
    { key: 'size', title: t('size'), width: '90px', end: true, sort: (volume) => -(sizes.get(volume.Name) ?? 0), cell: (volume) => ((sizes.get(volume.Name) ?? -1) >= 0 ? bytes(sizes.get(volume.Name)!) : '–') },
    {
      key: 'actions',
      title: '',
      width: '44px',
      end: true,
      cell: (volume) => (
        <button class="ghost icon-only" title={t('remove')} aria-label={`${t('remove')} ${volume.Name}`} onClick={() => askRemove(volume.Name)}>
          <Icon name="trash" size={16} />
        </button>
      ),
    },
  ];
  return (
    <>
      <header class="view-head">
        <h1>{t('volumes')}</h1>
        <span class="spread">
          <button onClick={() => askPrune('volumes')}>
            <Icon name="trash" size={15} />
            {t('prune')}
          </button>
          <button class="primary" onClick={() => ask((close) => <Create close={close} />)}>
            <Icon name="plus" size={15} />
            {t('newVolume')}
          </button>
        </span>
      </header>
      {error && <Failure error={error} />}
      <div class="tools">
        <Search text={text} change={setText} hint={t('searchVolumes')} />
      </div>
      {!all && !error && <Loading />}
      {all?.length === 0 && (
        <Empty icon="volumes" title={t('noVolumes')} text={t('noVolumesText')}>
          <CommandLine command="ferry run -d -v data:/data ferry/welcome" />
        </Empty>
      )}
      {all && all.length > 0 && rows.length === 0 && <Empty icon="search" title={t('noMatch')} />}
      {rows.length > 0 && <List label={t('volumes')} rows={rows} columns={columns} id={(volume) => volume.Name} name={(volume) => volume.Name} open={(volume) => go('volumes', volume.Name)} sorted={{ key: 'name', down: false }} />}
    </>
  );
}

export function VolumePage({ name }: { name: string }) {
  useEffect(() => volumes.show(), []);
  const all = useCell(volumes);
  const volume = all?.find((one) => one.Name === name);
  const users = useUsers().get(name) ?? [];
  const size = useSizes().get(name) ?? -1;
  return (
    <>
      <header class="view-head">
        <a class="back" href={to('volumes')}>
          {t('volumes')}
        </a>
        <span class="muted" aria-hidden="true">
          /
        </span>
        <h1>{anonymous(name) ? short(name) : name}</h1>
        {volume && (
          <span class="spread">
            <button class="danger" onClick={() => askRemove(name)}>
              <Icon name="trash" size={15} />
              {t('remove')}
            </button>
          </span>
        )}
      </header>
      {all && !volume && <p class="muted">{t('volumeGone')}</p>}
      {volume && (
        <div class="stack">
          <section class="card">
            <h2>{t('usedBy')}</h2>
            {users.length === 0 && <p class="muted">{t('unused')}</p>}
            <ul class="plain">
              {users.map((container) => {
                const mount = container.Mounts.find((one) => one.Name === name);
                return (
                  <li key={container.Id}>
                    <a href={to('containers', container.Id)}>{nameOf(container)}</a>
                    <code>{mount?.Destination}</code>
                    <span class="muted">{mount?.RW ? t('readWrite') : t('readOnly')}</span>
                    <a class="button" href={to('containers', container.Id, 'files', mount?.Destination ?? '/')}>
                      <Icon name="folder" size={15} />
                      {t('browse')}
                    </a>
                  </li>
                );
              })}
            </ul>
          </section>
          <VolumeFiles volume={name} users={users} />
          <VolumeCopies key={name} volume={name} />
          <section class="card">
            <h2>{t('details')}</h2>
            <dl class="facts">
              <div>
                <dt>{t('size')}</dt>
                <dd>{size >= 0 ? bytes(size) : '–'}</dd>
              </div>
              <div>
                <dt>{t('mountpoint')}</dt>
                <dd>
                  <code>{volume.Mountpoint}</code>
                </dd>
              </div>
            </dl>
            <Inspect target={path`/volumes/${name}`} command={`ferry volume inspect ${word(name)}`} />
          </section>
        </div>
      )}
    </>
  );
}
