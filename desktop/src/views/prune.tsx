// What nobody uses, shown before it is removed.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, post, query } from '../api';
import { useCell } from '../cell';
import { nameOf } from '../container';
import { bytes, short } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Loading } from '../parts/empty';
import { toast } from '../parts/toast';
import { disk } from '../state';
import { t } from '../words';

export type Prunable = 'containers' | 'images' | 'volumes' | 'buildCache';

interface Room {
  /** Where names may be the same. */
  id?: string;
  name: string;
  size: number;
}

/** Anonymous volumes have the name of an id. */
const anonymous = (name: string) => /^[0-9a-f]{64}$/.test(name);

function useVictims(kind: Prunable, all: boolean): Room[] | undefined {
  useEffect(() => disk.show(), []);
  const usage = useCell(disk);
  if (!usage) return undefined;
  switch (kind) {
    case 'containers':
      return (usage.Containers ?? []).filter((box) => ['exited', 'created', 'dead'].includes(box.State)).map((box) => ({ name: nameOf(box), size: box.SizeRw ?? 0 }));
    case 'images':
      return (usage.Images ?? [])
        .filter((image) => image.Containers === 0 && (all || (image.RepoTags ?? []).length === 0))
        .map((image) => ({ name: image.RepoTags?.join(', ') || short(image.Id), size: image.Size - Math.max(0, image.SharedSize) }));
    case 'volumes':
      return (usage.Volumes ?? []).filter((volume) => volume.UsageData?.RefCount === 0 && (all || anonymous(volume.Name))).map((volume) => ({ name: volume.Name, size: volume.UsageData?.Size ?? 0 }));
    default:
      return (usage.BuildCache ?? []).filter((item) => !item.InUse).map((item, place) => ({ id: item.ID, name: item.Description?.replace(/^RUN \/bin\/sh -c /, 'RUN ').replace(/\s*# buildkit$/, '') || t('step', { number: place + 1 }), size: item.Shared ? 0 : item.Size }));
  }
}

const TARGETS: Record<Prunable, { path: string; words: string }> = {
  containers: { path: '/containers/prune', words: 'ferry container prune -f' },
  images: { path: '/images/prune', words: 'ferry image prune -f' },
  volumes: { path: '/volumes/prune', words: 'ferry volume prune -f' },
  buildCache: { path: '/build/prune', words: 'ferry builder prune -f' },
};

function PruneDialog({ kind, close }: { kind: Prunable; close: () => void }) {
  const [all, setAll] = useState(false);
  const [under, setUnder] = useState(false);
  const victims = useVictims(kind, all);
  const widens = kind === 'images' || kind === 'volumes';
  const { path, words } = TARGETS[kind];
  const command = widens && all ? `${words} -a` : words;
  const done = async () => {
    setUnder(true);
    const filters = kind === 'images' ? { dangling: [String(!all)] } : kind === 'volumes' && all ? { all: ['true'] } : undefined;
    try {
      const told = await post<{ SpaceReclaimed?: number }>(query(path, { filters: filters && JSON.stringify(filters) }));
      toast({ kind: 'done', text: t('freed', { size: bytes(told?.SpaceReclaimed ?? 0) }), command });
      disk.later();
      close();
    } catch (error) {
      toast({ kind: 'failed', text: (error as ApiError).message });
      setUnder(false);
    }
  };
  return (
    <Dialog title={t(`prune_${kind}`)} close={close}>
      {widens && (
        <label class="choice">
          <input type="checkbox" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} />
          {t(kind === 'images' ? 'allUnusedImages' : 'allUnusedVolumes')}
        </label>
      )}
      {!victims && <Loading />}
      {victims?.length === 0 && <p class="muted">{t('nothingToFree')}</p>}
      {victims && victims.length > 0 && (
        <ul class="victims" tabIndex={0} aria-label={t('willBeRemoved')}>
          {victims.map((room) => (
            <li key={room.id ?? room.name}>
              <span class="cut" title={room.name}>{room.name}</span>
              <span class="muted">{bytes(room.size)}</span>
            </li>
          ))}
        </ul>
      )}
      <CommandLine command={command} />
      <footer>
        <button onClick={close}>{t('cancel')}</button>
        <button class="primary danger" disabled={under || !victims?.length} onClick={() => void done()}>
          {t('removeCount', { count: victims?.length ?? 0 })}
        </button>
      </footer>
    </Dialog>
  );
}

export const askPrune = (kind: Prunable) => ask((close) => <PruneDialog kind={kind} close={close} />);
