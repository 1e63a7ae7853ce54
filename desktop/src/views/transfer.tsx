// Pull and push, layer by layer.

import { useRef, useState } from 'preact/hooks';
import { ApiError, lines, query, tunnel, type Tunnel } from '../api';
import { bytes, word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Failure } from '../parts/empty';
import { images } from '../state';
import { t } from '../words';

interface Progress {
  id?: string;
  status?: string;
  error?: string;
  progressDetail?: { current?: number; total?: number };
}

interface Layer {
  id: string;
  status: string;
  current: number;
  total: number;
}

/** A name's repository and tag, as the API wants them apart. */
export function splitName(name: string): { repository: string; tag: string } {
  if (name.includes('@')) return { repository: name, tag: '' };
  const at = name.lastIndexOf(':');
  return at > name.lastIndexOf('/') ? { repository: name.slice(0, at), tag: name.slice(at + 1) } : { repository: name, tag: 'latest' };
}

/** What the registry is shown: the API's header is JSON in URL-safe base64. */
function credentials(user: string, password: string): string {
  const text = new TextEncoder().encode(JSON.stringify({ username: user, password }));
  return btoa(String.fromCharCode(...text)).replaceAll('+', '-').replaceAll('/', '_');
}

function Transfer({ kind, given, close }: { kind: 'pull' | 'push'; given: string; close: () => void }) {
  const [name, setName] = useState(given);
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [layers, setLayers] = useState<Layer[]>([]);
  const [says, setSays] = useState('');
  const [state, setState] = useState<'asked' | 'under' | 'done'>('asked');
  const [error, setError] = useState<ApiError>();
  const line = useRef<Tunnel | undefined>(undefined);
  const start = () => {
    const { repository, tag } = splitName(name.trim());
    const known = new Map<string, Layer>();
    let failed: ApiError | undefined;
    setState('under');
    setError(undefined);
    setLayers([]);
    const heard = ({ id, status = '', error: wrong, progressDetail }: Progress) => {
      if (wrong) failed = new ApiError(500, wrong);
      else if (id && id !== tag && /^[0-9a-f]{12}$/.test(id)) {
        const { current = 0, total = 0 } = progressDetail ?? {};
        known.set(id, { id, status, current, total });
        setLayers([...known.values()]);
      } else setSays(status);
    };
    line.current = tunnel(
      {
        method: 'POST',
        path: kind === 'pull' ? query('/images/create', { fromImage: repository, tag }) : query(`/images/${repository.split('/').map(encodeURIComponent).join('/')}/push`, { tag }),
        auth: user ? credentials(user, password) : undefined,
      },
      {
        data: lines<Progress>(heard),
        end: (broken) => {
          setError(broken ?? failed);
          setState(broken || failed ? 'asked' : 'done');
          images.later();
        },
      },
    );
  };
  const end = () => {
    line.current?.close();
    close();
  };
  return (
    <Dialog title={t(kind === 'pull' ? 'pullTitle' : 'pushTitle')} close={end}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          start();
        }}
      >
        <label>
          {t('imageName')}
          <input value={name} onInput={(event) => setName(event.currentTarget.value)} placeholder="nginx:latest" required readOnly={kind === 'push'} autofocus />
        </label>
        <details>
          <summary>{t('logInDetails')}</summary>
          <div class="pair">
            <label>
              {t('user')}
              <input value={user} autocomplete="off" onInput={(event) => setUser(event.currentTarget.value)} />
            </label>
            <label>
              {t('password')}
              <input type="password" value={password} autocomplete="off" onInput={(event) => setPassword(event.currentTarget.value)} />
            </label>
          </div>
        </details>
        {error && <Failure error={error} />}
        {layers.length > 0 && (
          <ul class="layers-under" aria-label={t('layers')}>
            {layers.map((layer) => (
              <li key={layer.id}>
                <code>{layer.id}</code>
                <span class="bar" aria-hidden="true">
                  <span class="bar-used" style={{ width: `${/complete|exists|pushed|mounted/i.test(layer.status) ? 100 : layer.total ? (layer.current / layer.total) * 100 : 0}%` }} />
                </span>
                <span class="muted small">
                  {layer.status}
                  {layer.total > 0 && layer.current < layer.total ? ` ${bytes(layer.current)} / ${bytes(layer.total)}` : ''}
                </span>
              </li>
            ))}
          </ul>
        )}
        {says && (
          <p class="muted" role="status">
            {says}
          </p>
        )}
        <CommandLine command={`ferry ${kind} ${word(name || 'nginx')}`} />
        <footer>
          <button type="button" onClick={end}>
            {state === 'done' ? t('close') : t('cancel')}
          </button>
          {state !== 'done' && (
            <button class="primary" type="submit" disabled={state === 'under' || !name.trim()}>
              {state === 'under' ? t('underWay') : t(kind)}
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  );
}

export const askPull = (name = '') => ask((close) => <Transfer kind="pull" given={name} close={close} />);
export const askPush = (name: string) => ask((close) => <Transfer kind="push" given={name} close={close} />);
