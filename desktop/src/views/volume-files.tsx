// What is in a volume: seen through a container that has it, or through one that is made for this look and never starts.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, path, post, query, remove as removeAt } from '../api';
import { nameOf } from '../container';
import { word } from '../format';
import { CommandLine } from '../parts/copy';
import { Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { LOOK } from '../state';
import type { ContainerSummary, ImageSummary } from '../types';
import { t } from '../words';
import { Files } from './container/files';

/** Where the volume is in the container that is made for the look. */
const PLACE = '/volume';

interface Window {
  id: string;
  name: string;
  place: string;
}

/** Any image will do: nothing of it runs. */
async function make(volume: string): Promise<Window> {
  const images = await get<ImageSummary[]>('/images/json');
  if (images.length === 0) throw new ApiError(0, t('noImageToLook'));
  const smallest = images.reduce((least, image) => (image.Size < least.Size ? image : least));
  const made = await post<{ Id: string }>('/containers/create', {
    Image: smallest.Id,
    Entrypoint: ['/none'],
    Cmd: [],
    Labels: { [LOOK]: volume },
    HostConfig: { NetworkMode: 'none', Mounts: [{ Type: 'volume', Source: volume, Target: PLACE }] },
  });
  return { id: made!.Id, name: made!.Id.slice(0, 12), place: PLACE };
}

const away = (id: string) => removeAt(query(path`/containers/${id}`, { force: true })).catch(() => undefined);

/** Those that a page left behind when it was closed. */
async function sweep(volume: string): Promise<void> {
  const filters = JSON.stringify({ label: [`${LOOK}=${volume}`], status: ['created'] });
  const left = await get<ContainerSummary[]>(query('/containers/json', { all: true, filters }));
  await Promise.all(left.map((container) => away(container.Id)));
}

export function VolumeFiles({ volume, users }: { volume: string; users: ContainerSummary[] }) {
  const [open, setOpen] = useState(false);
  const [made, setMade] = useState<Window>();
  const [error, setError] = useState<ApiError>();
  const user = users[0];
  const mount = user?.Mounts.find((one) => one.Name === volume);
  const through = user && mount ? { id: user.Id, name: nameOf(user), place: mount.Destination } : made;
  const wanted = open && !through;
  useEffect(() => {
    if (!open || user) return;
    let gone = false;
    let own: Window | undefined;
    setError(undefined);
    sweep(volume)
      .then(() => make(volume))
      .then(
        (window) => {
          own = window;
          if (gone) void away(window.id);
          else setMade(window);
        },
        (failed: ApiError) => setError(failed),
      );
    return () => {
      gone = true;
      setMade(undefined);
      if (own) void away(own.id);
    };
  }, [open, user?.Id]);
  return (
    <section class="card">
      <div class="card-head wrap">
        <h2>{t('files')}</h2>
        <span class="buttons">
          {!open && (
            <button onClick={() => setOpen(true)}>
              <Icon name="folder" size={15} />
              {t('browse')}
            </button>
          )}
          {open && through && (
            <a class="button" href={query(`/api${path`/containers/${through.id}/archive`}`, { path: `${through.place}/.` })} download={`${volume}.tar`}>
              <Icon name="download" size={15} />
              {t('exportVolume')}
            </a>
          )}
        </span>
      </div>
      {error && <Failure error={error} />}
      {wanted && !error && <Loading />}
      {open && through && <Files key={through.id} id={through.id} name={through.name} begin={through.place} root={through.place} />}
      <CommandLine command={`ferry run --rm -v ${word(volume)}:/volume busybox tar -cC /volume . > ${word(`${volume}.tar`)}`} />
    </section>
  );
}
