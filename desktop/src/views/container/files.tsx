// Files of a container: looked at, fetched, brought in; and what it has changed of its image.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get, path, query, request, send } from '../../api';
import { bytes, day, word } from '../../format';
import { CommandLine } from '../../parts/copy';
import { ask, Dialog } from '../../parts/dialog';
import { Empty, Failure, Loading } from '../../parts/empty';
import { Icon } from '../../parts/icon';
import { List, type Column } from '../../parts/list';
import { toast } from '../../parts/toast';
import { pack } from '../../tar';
import { t } from '../../words';

interface Child {
  name: string;
  kind: 'file' | 'directory' | 'symlink' | 'device' | 'fifo';
  size: number;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  link?: string;
}

interface Listing {
  kind: Child['kind'];
  link: string;
  entries: Child[];
}

interface Change {
  Path: string;
  Kind: 0 | 1 | 2;
}

/** What is shown of a file. */
const PREVIEW = 256 * 1024;

function join(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}

/** Where a link leads, from the folder that it is in. */
function follow(folder: string, link: string): string {
  const parts = link.startsWith('/') ? [] : folder.split('/').filter(Boolean);
  for (const part of link.split('/')) {
    if (part === '..') parts.pop();
    else if (part && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function permissions(mode: number): string {
  return [6, 3, 0].map((shift) => ['r', 'w', 'x'].map((letter, bit) => ((mode >> shift) & (4 >> bit) ? letter : '-')).join('')).join('');
}

async function beginning(target: string): Promise<{ text?: string; cut: boolean }> {
  const stop = new AbortController();
  const response = await send(target, { signal: stop.signal });
  if (!response.ok) throw new ApiError(response.status, ((await response.json()) as { message: string }).message);
  const reader = response.body!.getReader();
  const all = new Uint8Array(PREVIEW);
  let count = 0;
  while (count < PREVIEW) {
    const { done, value } = await reader.read();
    if (done) break;
    const part = value.subarray(0, PREVIEW - count);
    all.set(part, count);
    count += part.length;
  }
  const cut = count === PREVIEW;
  if (cut) stop.abort();
  const seen = all.subarray(0, count);
  return { text: seen.includes(0) ? undefined : new TextDecoder().decode(seen), cut };
}

function Preview({ id, name, file, close }: { id: string; name: string; file: string; close: () => void }) {
  const [shown, setShown] = useState<{ text?: string; cut: boolean }>();
  const [error, setError] = useState<ApiError>();
  const target = query('/files/read', { container: id, path: file });
  useEffect(() => {
    beginning(target).then(setShown, setError);
  }, [target]);
  return (
    <Dialog title={file} close={close} wide>
      {error && <Failure error={error} />}
      {!shown && !error && <Loading />}
      {shown && shown.text === undefined && <p class="muted">{t('binaryFile')}</p>}
      {shown?.text !== undefined && (
        <pre class="preview" tabIndex={0}>
          {shown.text}
        </pre>
      )}
      {shown?.cut && <p class="muted small">{t('cutFile', { size: bytes(PREVIEW) })}</p>}
      <CommandLine command={`ferry cp ${word(name)}:${word(file)} .`} />
      <footer>
        <a class="button" href={target} download>
          <Icon name="download" size={15} />
          {t('download')}
        </a>
      </footer>
    </Dialog>
  );
}

function Changes({ id, name }: { id: string; name: string }) {
  const [changes, setChanges] = useState<Change[]>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    get<Change[] | null>(path`/containers/${id}/changes`).then((all) => setChanges(all ?? []), setError);
  }, [id]);
  if (error) return <Failure error={error} />;
  if (!changes) return <Loading />;
  if (changes.length === 0) return <Empty icon="check" title={t('noChanges')} text={t('noChangesText')} />;
  const kinds = [t('changed'), t('added'), t('deleted')];
  const columns: Column<Change>[] = [
    { key: 'kind', title: t('kind'), width: '120px', sort: (change) => change.Kind, cell: (change) => <span class={`change-${change.Kind}`}>{kinds[change.Kind]}</span> },
    { key: 'path', title: t('path'), width: 'minmax(0, 1fr)', sort: (change) => change.Path, cell: (change) => <code class="cut">{change.Path}</code> },
  ];
  return (
    <div class="stack">
      <CommandLine command={`ferry diff ${word(name)}`} />
      <List label={t('changes')} rows={changes} columns={columns} id={(change) => change.Path} name={(change) => change.Path} />
    </div>
  );
}

/** `root` keeps to a folder: a volume's. */
export function Files({ id, name, begin = '/', root = '' }: { id: string; name: string; begin?: string; root?: string }) {
  const [folder, setFolder] = useState(begin);
  const [mode, setMode] = useState<'browse' | 'changes'>('browse');
  const [listing, setListing] = useState<Listing>();
  const [error, setError] = useState<ApiError>();
  const [count, setCount] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const stop = new AbortController();
    setListing(undefined);
    setError(undefined);
    void (async () => {
      try {
        const response = await send(query('/files/list', { container: id, path: folder }), { signal: stop.signal });
        const told = (await response.json()) as Listing & { message?: string };
        if (!response.ok) throw new ApiError(response.status, told.message ?? '');
        if (told.kind === 'symlink') setFolder(follow(folder.replace(/\/[^/]*$/, '') || '/', told.link));
        else setListing(told);
      } catch (failed) {
        if ((failed as Error).name !== 'AbortError') setError(failed as ApiError);
      }
    })();
    return () => stop.abort();
  }, [id, folder, count]);
  const show = (file: string) => ask((close) => <Preview id={id} name={name} file={file} close={close} />);
  const open = (child: Child) => {
    const whole = join(folder, child.name);
    if (child.kind === 'directory') setFolder(whole);
    else if (child.kind === 'symlink') setFolder(follow(folder, child.link ?? ''));
    else if (child.kind === 'file') show(whole);
  };
  const [over, setOver] = useState(false);
  const bring = async (files: FileList) => {
    try {
      await request('PUT', query(path`/containers/${id}/archive`, { path: folder }), undefined, { body: await pack([...files]), headers: { 'Content-Type': 'application/x-tar' } });
      toast({ kind: 'done', text: t('uploaded', { count: files.length }), command: [...files].map((file) => `ferry cp ${word(file.name)} ${word(name)}:${word(folder)}`).join(' && ') });
      setCount(count + 1);
    } catch (failed) {
      const { message, hint } = failed as ApiError;
      toast({ kind: 'failed', text: message, hint });
    }
  };
  const columns: Column<Child>[] = [
    {
      key: 'name',
      title: t('name'),
      width: 'minmax(0, 2.5fr)',
      sort: (child) => `${child.kind === 'directory' ? 0 : 1}${child.name}`,
      cell: (child) => (
        <button class="file-name" onClick={() => open(child)}>
          <Icon name={child.kind === 'directory' ? 'folder' : child.kind === 'symlink' ? 'link' : 'file'} size={16} />
          <span class="cut">
            {child.name}
            {child.link && child.kind === 'symlink' && <span class="muted"> → {child.link}</span>}
          </span>
        </button>
      ),
    },
    { key: 'size', title: t('size'), width: '90px', end: true, sort: (child) => -child.size, cell: (child) => (child.kind === 'symlink' ? '' : bytes(child.size)) },
    { key: 'mode', title: t('permissions'), width: '110px', wide: true, cell: (child) => <code>{permissions(child.mode)}</code> },
    { key: 'owner', title: t('owner'), width: '90px', wide: true, cell: (child) => <span class="muted">{`${child.uid}:${child.gid}`}</span> },
    { key: 'time', title: t('modified'), width: 'minmax(0, 1.2fr)', wide: true, sort: (child) => -child.mtime, cell: (child) => <span class="muted cut">{day(new Date(child.mtime * 1000))}</span> },
    {
      key: 'get',
      title: '',
      width: '44px',
      end: true,
      cell: (child) => {
        const whole = join(folder, child.name);
        const target = child.kind === 'file' ? query('/files/read', { container: id, path: whole }) : query(`/api${path`/containers/${id}/archive`}`, { path: whole });
        return (
          <a class="icon-link" href={target} download={child.kind === 'file' ? child.name : `${child.name}.tar`} aria-label={`${t('download')} ${child.name}`} title={t('download')}>
            <Icon name="download" size={16} />
          </a>
        );
      },
    },
  ];
  const parts = folder.slice(root.length).split('/').filter(Boolean);
  // Files that are dropped anywhere on the list are brought in.
  const drag = (event: DragEvent, within: boolean) => {
    if (mode !== 'browse' || !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    setOver(within);
  };
  return (
    <div
      class={over ? 'drop over' : 'drop'}
      onDragOver={(event) => drag(event, true)}
      onDragLeave={(event) => drag(event, false)}
      onDrop={(event) => {
        drag(event, false);
        const files = event.dataTransfer?.files;
        if (mode === 'browse' && files?.length) void bring(files);
      }}
    >
      <div class="tools">
        {!root && <div class="segments" role="group" aria-label={t('files')}>
          <button aria-pressed={mode === 'browse'} onClick={() => setMode('browse')}>
            {t('browse')}
          </button>
          <button aria-pressed={mode === 'changes'} onClick={() => setMode('changes')}>
            {t('changes')}
          </button>
        </div>}
        {mode === 'browse' && (
          <>
            <nav class="crumbs" aria-label={t('path')}>
              <button onClick={() => setFolder(root || '/')}>/</button>
              {parts.map((part, place) => (
                <button key={place} onClick={() => setFolder(`${root}/${parts.slice(0, place + 1).join('/')}`)}>
                  {part}
                </button>
              ))}
            </nav>
            <span class="spread">
              <input ref={field} type="file" multiple hidden aria-label={t('upload')} onChange={(event) => event.currentTarget.files && void bring(event.currentTarget.files)} />
              <button onClick={() => field.current?.click()}>
                <Icon name="upload" size={15} />
                {t('upload')}
              </button>
            </span>
          </>
        )}
      </div>
      {mode === 'changes' ? (
        <Changes id={id} name={name} />
      ) : (
        <>
          {error && <Failure error={error} />}
          {!listing && !error && <Loading text={t('readingFolder')} />}
          {listing?.entries.length === 0 && <Empty icon="folder" title={t('emptyFolder')} text={t('dropHere')} />}
          {listing && listing.entries.length > 0 && <List key={folder} label={folder} rows={listing.entries} columns={columns} id={(child) => child.name} name={(child) => child.name} open={open} sorted={{ key: 'name', down: false }} />}
        </>
      )}
    </div>
  );
}
