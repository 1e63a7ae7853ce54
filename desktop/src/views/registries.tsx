// Registries: who we are to them, what they have, and pulling it.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { ApiError, get, path, query, send } from '../api';
import { Cell, useCell } from '../cell';
import { bytes, short, word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { Search } from '../parts/search';
import { toast } from '../parts/toast';
import { go, to } from '../route';
import { images } from '../state';
import { t } from '../words';
import { askPull } from './transfer';

const HUB = 'docker.io';
const HUB_LOGIN = 'https://index.docker.io/v1/';
/** Logins changed: ask again. */
const changed = new Cell(0);

const hostOf = (server: string) => (server === HUB_LOGIN ? HUB : server.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));

async function changeLogins(method: 'POST' | 'DELETE', body: Record<string, string>): Promise<void> {
  const response = await send('/logins', { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const told = (await response.json()) as { message: string; hint?: string };
  if (!response.ok) throw new ApiError(response.status, told.message, told.hint);
  changed.value += 1;
}

function LoginDialog({ given, close }: { given: string; close: () => void }) {
  const [registry, setRegistry] = useState(given);
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [under, setUnder] = useState(false);
  const [error, setError] = useState<ApiError>();
  const host = registry.trim() || HUB;
  const command = `ferry login -u ${word(username || 'USER')}${host === HUB ? '' : ` ${word(host)}`}`;
  const done = async () => {
    setUnder(true);
    setError(undefined);
    try {
      await changeLogins('POST', { registry: host === HUB ? HUB_LOGIN : host, username, password });
      toast({ kind: 'done', text: t('loggedIn', { name: host }), command });
      close();
    } catch (failed) {
      setError(failed as ApiError);
      setUnder(false);
    }
  };
  return (
    <Dialog title={t('logIn')} close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void done();
        }}
      >
        <label>
          {t('registry')}
          <input value={registry} placeholder={HUB} autocapitalize="off" onInput={(event) => setRegistry(event.currentTarget.value)} />
        </label>
        <div class="pair">
          <label>
            {t('user')}
            <input value={username} autocomplete="off" required onInput={(event) => setUsername(event.currentTarget.value)} />
          </label>
          <label>
            {t('password')}
            <input type="password" value={password} autocomplete="off" required onInput={(event) => setPassword(event.currentTarget.value)} />
          </label>
        </div>
        <p class="muted small">{t('loginKept')}</p>
        {error && <Failure error={error} />}
        <CommandLine command={command} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit" disabled={under}>
            {under ? t('underWay') : t('logIn')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

const askLogin = (given = '') => ask((close) => <LoginDialog given={given} close={close} />);

async function logOut(server: string): Promise<void> {
  try {
    await changeLogins('DELETE', { registry: server });
    toast({ kind: 'done', text: t('loggedOut', { name: hostOf(server) }), command: `ferry logout ${word(server)}` });
  } catch (error) {
    toast({ kind: 'failed', text: (error as ApiError).message });
  }
}

function Logins() {
  const count = useCell(changed);
  const [servers, setServers] = useState<string[]>();
  useEffect(() => {
    let gone = false;
    const load = async () => {
      const response = await send('/logins');
      const told = response.ok ? ((await response.json()) as { servers: string[] }) : { servers: [] };
      if (!gone) setServers(told.servers);
    };
    void load();
    return () => {
      gone = true;
    };
  }, [count]);
  return (
    <section class="card">
      <h2>{t('logins')}</h2>
      {servers?.length === 0 && <p class="muted">{t('noLogins')}</p>}
      <ul class="rows">
        {(servers ?? []).map((server) => (
          <li key={server} class="spread-line">
            <a class="cut" href={to('registries', hostOf(server))}>
              {hostOf(server)}
            </a>
            <button class="small-button" onClick={() => void logOut(server)} aria-label={`${t('logOut')} ${hostOf(server)}`}>
              {t('logOut')}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Whether a word names a registry and no repository of Docker's. */
const isHost = (name: string) => !name.includes('/') && (/[.:]/.test(name) || name === 'localhost');

function noBrowsing(error: ApiError): boolean {
  return error.status === 404 && error.message === 'page not found';
}

function Trouble({ error, host }: { error: ApiError; host: string }) {
  if (noBrowsing(error)) return <Empty icon="registries" title={t('noBrowsing')} text={t('noBrowsingText')} />;
  return (
    <>
      <Failure error={error} />
      <p>
        <button onClick={() => askLogin(host)}>{t('logIn')}</button>
      </p>
    </>
  );
}

export function Registries() {
  const [name, setName] = useState('');
  const open = () => name.trim() && go('registries', name.trim().replace(/^https?:\/\//, ''));
  return (
    <>
      <header class="view-head">
        <h1>{t('registries')}</h1>
        <span class="spread">
          <button class="primary" onClick={() => askLogin()}>
            {t('logIn')}
          </button>
        </span>
      </header>
      <div class="stack narrow">
        <section class="card">
          <h2>{t('browse')}</h2>
          <form
            class="one-line"
            onSubmit={(event) => {
              event.preventDefault();
              open();
            }}
          >
            <input aria-label={t('browseWhat')} value={name} placeholder="nginx, ghcr.io/owner/app, localhost:5000" autocapitalize="off" onInput={(event) => setName(event.currentTarget.value)} />
            <button class="primary" type="submit" disabled={!name.trim()}>
              {t('browse')}
            </button>
          </form>
          <p class="muted small">{t('browseText')}</p>
        </section>
        <Logins />
      </div>
    </>
  );
}

function Head({ name }: { name: string }) {
  const slash = name.indexOf('/');
  const host = slash > 0 && isHost(name.slice(0, slash)) ? name.slice(0, slash) : '';
  return (
    <header class="view-head">
      <a class="back" href={to('registries')}>
        {t('registries')}
      </a>
      <span class="muted" aria-hidden="true">
        /
      </span>
      {host && (
        <>
          <a class="back" href={to('registries', host)}>
            {host}
          </a>
          <span class="muted" aria-hidden="true">
            /
          </span>
        </>
      )}
      <h1>{host ? name.slice(slash + 1) : name}</h1>
    </header>
  );
}

function useOnce<T>(target: string): { value?: T; error?: ApiError } {
  const again = useCell(changed);
  const [state, setState] = useState<{ value?: T; error?: ApiError }>({});
  useEffect(() => {
    const stop = new AbortController();
    setState({});
    get<T>(target, { signal: stop.signal }).then(
      (value) => setState({ value }),
      (error: Error) => error.name !== 'AbortError' && setState({ error: error as ApiError }),
    );
    return () => stop.abort();
  }, [target, again]);
  return state;
}

function Catalog({ host }: { host: string }) {
  const { value, error } = useOnce<{ Repositories: string[] }>(query('/distribution/catalog', { registry: host }));
  const [text, setText] = useState('');
  const rows = (value?.Repositories ?? []).filter((name) => name.toLowerCase().includes(text.toLowerCase()));
  const columns: Column<string>[] = [
    { key: 'name', title: t('repository'), width: 'minmax(0, 1fr)', sort: (name) => name, cell: (name) => <a class="name" href={to('registries', `${host}/${name}`)}>{name}</a> },
  ];
  return (
    <>
      <Head name={host} />
      {error && <Trouble error={error} host={host} />}
      {!value && !error && <Loading />}
      {value?.Repositories.length === 0 && <Empty icon="registries" title={t('noRepositories')} text={t('noRepositoriesText')} />}
      {value && value.Repositories.length > 0 && (
        <>
          <div class="tools">
            <Search text={text} change={setText} hint={t('searchRepositories')} />
          </div>
          <List label={t('registries')} rows={rows} columns={columns} id={(name) => name} name={(name) => name} open={(name) => go('registries', `${host}/${name}`)} />
        </>
      )}
    </>
  );
}

interface Distribution {
  Descriptor: { digest: string; size: number; mediaType: string };
  Platforms: { os: string; architecture: string; variant?: string }[] | null;
}

function TagDialog({ name, close }: { name: string; close: () => void }) {
  const { value, error } = useOnce<Distribution>(path`/distribution/${name}/json`);
  const platforms = (value?.Platforms ?? []).filter((one) => one.os !== 'unknown').map((one) => [one.os, one.architecture, one.variant].filter(Boolean).join('/'));
  return (
    <Dialog title={name} close={close}>
      {error && <Failure error={error} />}
      {!value && !error && <Loading />}
      {value && (
        <dl class="facts">
          {(
            [
              [t('digest'), value.Descriptor.digest],
              [t('platform'), platforms.join(', ')],
              [t('kind'), value.Descriptor.mediaType],
              [t('manifestSize'), bytes(value.Descriptor.size)],
            ] as const
          ).map(([key, text]) => (
            <div key={key}>
              <dt>{key}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      )}
      <CommandLine command={`ferry pull ${word(name)}`} />
      <footer>
        <button onClick={close}>{t('close')}</button>
        <button class="primary" onClick={() => askPull(name)}>
          {t('pull')}
        </button>
      </footer>
    </Dialog>
  );
}

function Tags({ repository }: { repository: string }) {
  useEffect(() => images.show(), []);
  const here = useCell(images);
  const { value, error } = useOnce<{ Tags: string[] }>(path`/distribution/${repository}/tags`);
  const [text, setText] = useState('');
  const own = useMemo(() => new Map((here ?? []).flatMap((image) => (image.RepoTags ?? []).map((tag) => [tag, image.Id] as const))), [here]);
  const rows = (value?.Tags ?? []).filter((tag) => tag.includes(text)).sort((a, b) => b.localeCompare(a, undefined, { numeric: true }));
  const full = (tag: string) => `${repository}:${tag}`;
  const show = (tag: string) => ask((close) => <TagDialog name={full(tag)} close={close} />);
  const columns: Column<string>[] = [
    { key: 'name', title: t('tag_'), width: 'minmax(0, 1fr)', sort: (tag) => tag, cell: (tag) => <span class="cut mono">{tag}</span> },
    {
      key: 'here',
      title: t('here'),
      width: '130px',
      cell: (tag) => {
        const id = own.get(full(tag));
        return id ? <a href={to('images', id)}>{short(id)}</a> : <span class="muted">–</span>;
      },
    },
    {
      key: 'actions',
      title: '',
      width: '64px',
      end: true,
      cell: (tag) => (
        <button class="ghost icon-only" title={t('pull')} aria-label={`${t('pull')} ${full(tag)}`} onClick={() => askPull(full(tag))}>
          <Icon name="download" />
        </button>
      ),
    },
  ];
  return (
    <>
      <Head name={repository} />
      {error && <Trouble error={error} host={repository.split('/')[0]} />}
      {!value && !error && <Loading />}
      {value?.Tags.length === 0 && <Empty icon="registries" title={t('noTags')} />}
      {value && value.Tags.length > 0 && (
        <>
          <div class="tools">
            <Search text={text} change={setText} hint={t('searchTags')} />
          </div>
          <List label={t('tagList')} rows={rows} columns={columns} id={(tag) => tag} name={full} open={show} />
        </>
      )}
    </>
  );
}

export function RegistryPage({ name }: { name: string }) {
  return isHost(name) ? <Catalog host={name} /> : <Tags repository={name} />;
}
