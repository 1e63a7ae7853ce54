// All images, and what is done with them.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, path, post, query, remove as removeAt } from '../api';
import { useCell } from '../cell';
import { ago, bytes, short, word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { Menu } from '../parts/menu';
import { Search } from '../parts/search';
import { toast } from '../parts/toast';
import { go, to } from '../route';
import { containers, images } from '../state';
import type { ImageSummary } from '../types';
import { t } from '../words';
import { askPrune } from './prune';
import { askRun } from './run';
import { askPull, askPush } from './transfer';

/** One line of the list: an image under one of its names. */
export interface NamedImage {
  image: ImageSummary;
  name: string;
}

export function named(all: ImageSummary[]): NamedImage[] {
  return all.flatMap((image) => {
    const tags = (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>');
    return tags.length > 0 ? tags.map((name) => ({ image, name })) : [{ image, name: '' }];
  });
}

/** What goes when it is removed: the rest is others', too. */
const ownSize = (image: ImageSummary) => Math.max(0, image.Size - Math.max(0, image.SharedSize));

export const nameOr = (row: NamedImage) => row.name || short(row.image.Id);

function TagDialog({ row, close }: { row: NamedImage; close: () => void }) {
  const [name, setName] = useState(row.name);
  const split = () => {
    const at = name.lastIndexOf(':');
    return at > name.lastIndexOf('/') ? [name.slice(0, at), name.slice(at + 1)] : [name, 'latest'];
  };
  const done = async () => {
    const [repo, tag] = split();
    try {
      await post(query(path`/images/${row.image.Id}/tag`, { repo, tag }));
      toast({ kind: 'done', text: t('tagged', { name }), command: `ferry tag ${word(nameOr(row))} ${word(name)}` });
      close();
    } catch (error) {
      toast({ kind: 'failed', text: (error as ApiError).message });
    }
  };
  return (
    <Dialog title={t('tagTitle', { name: nameOr(row) })} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void done();
        }}
      >
        <label>
          {t('newName')}
          <input value={name} onInput={(event) => setName(event.currentTarget.value)} required />
        </label>
        <CommandLine command={`ferry tag ${word(nameOr(row))} ${word(name)}`} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit">
            {t('tag')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function RemoveDialog({ rows, close }: { rows: NamedImage[]; close: () => void }) {
  const [force, setForce] = useState(false);
  const command = `ferry rmi ${force ? '-f ' : ''}${rows.map((row) => word(nameOr(row))).join(' ')}`;
  const done = async () => {
    close();
    let count = 0;
    for (const row of rows) {
      try {
        await removeAt(query(path`/images/${row.name || row.image.Id}`, { force }));
        count += 1;
      } catch (error) {
        const { message, hint } = error as ApiError;
        toast({ kind: 'failed', text: message, hint });
      }
    }
    if (count > 0) toast({ kind: 'done', text: t('imagesRemoved', { count }), command });
  };
  return (
    <Dialog title={t('removeTitle', { name: rows.length === 1 ? nameOr(rows[0]) : t('manyImages', { count: rows.length }) })} close={close}>
      <p>{t('removeImageText')}</p>
      <label class="choice">
        <input type="checkbox" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />
        {t('forceImage')}
      </label>
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

export const askRemoveImages = (rows: NamedImage[]) => ask((close) => <RemoveDialog rows={rows} close={close} />);
export const askTag = (row: NamedImage) => ask((close) => <TagDialog row={row} close={close} />);

/** The tag stays where there is no room for all of the name. */
function ImageName({ name }: { name: string }) {
  const at = name.lastIndexOf(':') > name.lastIndexOf('/') ? name.lastIndexOf(':') : name.length;
  return (
    <span class="image-name">
      <span>{name.slice(0, at)}</span>
      <span>{name.slice(at)}</span>
    </span>
  );
}

function columns(users: Map<string, number>): Column<NamedImage>[] {
  return [
    {
      key: 'name',
      title: t('name'),
      width: 'minmax(0, 2.4fr)',
      sort: (row) => row.name || '~',
      cell: (row) => (
        <a class="name" href={to('images', row.image.Id)} title={row.name}>
          {row.name ? <ImageName name={row.name} /> : <span class="muted">{t('noTag')}</span>}
          <span class="muted small mono">{short(row.image.Id)}</span>
        </a>
      ),
    },
    {
      key: 'used',
      title: t('usedBy'),
      width: 'minmax(90px, 1fr)',
      wide: true,
      sort: (row) => -(users.get(row.image.Id) ?? 0),
      cell: (row) => (users.get(row.image.Id) ? t('many', { count: users.get(row.image.Id)! }) : <span class="muted">{t('unused')}</span>),
    },
    { key: 'created', title: t('created'), width: '128px', wide: true, sort: (row) => -row.image.Created, cell: (row) => <span class="muted cut">{row.image.Created > 0 ? ago(new Date(row.image.Created * 1000)) : ''}</span> },
    { key: 'shared', title: t('shared'), width: '100px', wide: true, end: true, sort: (row) => -row.image.SharedSize, cell: (row) => <span class="muted">{row.image.SharedSize > 0 ? bytes(row.image.SharedSize) : '–'}</span> },
    { key: 'own', title: t('ownSize'), width: '90px', wide: true, end: true, sort: (row) => -ownSize(row.image), cell: (row) => bytes(ownSize(row.image)) },
    { key: 'size', title: t('size'), width: '90px', narrow: '74px', end: true, sort: (row) => -row.image.Size, cell: (row) => bytes(row.image.Size) },
    {
      key: 'actions',
      title: '',
      width: '84px',
      narrow: '66px',
      end: true,
      cell: (row) => (
        <span class="row-actions">
          <button class="ghost icon-only" title={t('run')} aria-label={`${t('run')} ${nameOr(row)}`} onClick={() => askRun(row.name || row.image.Id)}>
            <Icon name="play" />
          </button>
          <Menu
            label={t('actionsFor', { name: nameOr(row) })}
            items={[
              { text: t('tag'), icon: 'tag', run: () => askTag(row) },
              { text: t('push'), icon: 'upload', disabled: !row.name, run: () => askPush(row.name) },
              { text: t('remove'), icon: 'trash', danger: true, run: () => askRemoveImages([row]) },
            ]}
          />
        </span>
      ),
    },
  ];
}

export function Images() {
  useEffect(() => images.show(), []);
  useEffect(() => containers.show(), []);
  const all = useCell(images);
  const error = useCell(images.error);
  const [text, setText] = useState('');
  const [selected, select] = useState(new Set<string>());
  const users = new Map<string, number>();
  for (const container of useCell(containers) ?? []) users.set(container.ImageID, (users.get(container.ImageID) ?? 0) + 1);
  const rows = named(all ?? []).filter((row) => `${row.name} ${row.image.Id}`.toLowerCase().includes(text.toLowerCase()));
  const id = (row: NamedImage) => `${row.name} ${row.image.Id}`;
  const chosen = rows.filter((row) => selected.has(id(row)));
  return (
    <>
      <header class="view-head">
        <h1>{t('images')}</h1>
        <span class="spread">
          <button onClick={() => askPrune('images')}>
            <Icon name="trash" size={15} />
            {t('prune')}
          </button>
          <button class="primary" onClick={() => askPull()}>
            <Icon name="download" size={15} />
            {t('pull')}
          </button>
        </span>
      </header>
      {error && <Failure error={error} />}
      <div class="tools">
        <Search text={text} change={setText} hint={t('searchImages')} />
      </div>
      {chosen.length > 0 && (
        <div class="chosen" role="toolbar" aria-label={t('actions')}>
          <strong>{t('selected', { count: chosen.length })}</strong>
          <button class="danger" onClick={() => askRemoveImages(chosen)}>
            <Icon name="trash" size={15} />
            {t('remove')}
          </button>
          <button class="ghost" onClick={() => select(new Set())}>
            {t('clear')}
          </button>
        </div>
      )}
      {!all && !error && <Loading />}
      {all?.length === 0 && (
        <Empty icon="images" title={t('noImages')} text={t('noImagesText')}>
          <CommandLine command="ferry pull nginx" />
        </Empty>
      )}
      {all && all.length > 0 && rows.length === 0 && <Empty icon="search" title={t('noMatch')} />}
      {rows.length > 0 && <List label={t('images')} rows={rows} columns={columns(users)} id={id} name={nameOr} open={(row) => go('images', row.image.Id)} selected={selected} select={select} />}
    </>
  );
}
