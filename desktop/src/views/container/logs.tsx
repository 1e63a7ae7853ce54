// The log of a container: live, searched, standard output and error apart, downloaded.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, path, query, tunnel } from '../../api';
import { remembered, useCell } from '../../cell';
import { word } from '../../format';
import { Demux, LogStore, literal } from '../../log';
import { CopyButton } from '../../parts/copy';
import { Empty, Failure } from '../../parts/empty';
import { Icon } from '../../parts/icon';
import { LogView } from '../../parts/log-view';
import { Search } from '../../parts/search';
import { t } from '../../words';

const STREAMS = ['both', 'stdout', 'stderr'] as const;
const TAILS = ['1000', '10000', '100000', 'all'] as const;
export const times = remembered<'yes' | 'no'>('logs.times', 'yes', ['yes', 'no']);
export const tail = remembered('logs.tail', '10000', TAILS);
/** Lines that are searched before the page may draw again. */
const SLICE = 40_000;

/** The lines of a container as they come; the number changes with them. */
function useLog(id: string, tty: boolean, wanted: string, started: string) {
  const [version, setVersion] = useState(0);
  const [error, setError] = useState<ApiError>();
  const [done, setDone] = useState(false);
  const store = useMemo(() => new LogStore(), [id, wanted, started]);
  useEffect(() => {
    let drawing = 0;
    const again = () => {
      drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        setVersion((count) => count + 1);
      });
    };
    setDone(false);
    setError(undefined);
    const demux = new Demux(tty, (isError, text) => store.push(isError, text));
    const line = tunnel(
      { path: query(path`/containers/${id}/logs`, { stdout: true, stderr: true, follow: true, timestamps: true, tail: wanted }) },
      {
        data: (bytes) => {
          demux.take(bytes);
          again();
        },
        end: (failed) => {
          setError(failed);
          setDone(true);
          again();
        },
      },
    );
    return () => {
      line.close();
      cancelAnimationFrame(drawing);
    };
  }, [store]);
  return { store, version, error, done };
}

/** The places of the lines that fit, found without stopping the page. */
function usePlaces(store: LogStore, version: number, fits: ((place: number) => boolean) | undefined): number[] | undefined {
  const [places, setPlaces] = useState<number[]>();
  const state = useRef<{ fits?: (place: number) => boolean; store: LogStore; next: number; first: number; found: number[] }>({ store, next: 0, first: 0, found: [] });
  useEffect(() => {
    const own = state.current;
    if (!fits) {
      own.fits = undefined;
      setPlaces(undefined);
      return;
    }
    if (own.fits !== fits || own.store !== store || own.first !== store.first) {
      state.current = { fits, store, next: 0, first: store.first, found: [] };
    }
    let waiting = 0;
    const step = () => {
      const now = state.current;
      const to = Math.min(store.length, now.next + SLICE);
      for (let place = now.next; place < to; place += 1) if (fits(place)) now.found.push(place);
      now.next = to;
      setPlaces([...now.found]);
      if (to < store.length) waiting = window.setTimeout(step);
    };
    step();
    return () => clearTimeout(waiting);
  }, [store, version, fits]);
  return places;
}

export function Logs({ id, name, tty, started }: { id: string; name: string; tty: boolean; started: string }) {
  const wanted = useCell(tail);
  const { store, version, error, done } = useLog(id, tty, wanted, started);
  const [stream, setStream] = useState<(typeof STREAMS)[number]>('both');
  const [text, setText] = useState('');
  const [only, setOnly] = useState(false);
  const [follow, setFollow] = useState(true);
  const [at, setAt] = useState<number>();
  const timed = useCell(times) === 'yes';
  const found = useMemo(() => (text ? literal(text) : undefined), [text]);
  const fits = useMemo(() => {
    if (!found && stream === 'both') return undefined;
    return (place: number) => (stream === 'both' || store.isError(place) === (stream === 'stderr')) && (!found || found.test(store.at(place).text));
  }, [found, stream, store]);
  const hits = usePlaces(store, version, fits);
  const shown = only || stream !== 'both' ? hits : undefined;
  const step = (by: number) => {
    if (!hits || hits.length === 0) return;
    const now = at === undefined ? (by > 0 ? -1 : 0) : hits.indexOf(hits[at] ?? -1);
    setAt((now + by + hits.length) % hits.length);
  };
  useEffect(() => setAt(undefined), [fits]);
  const download = () => {
    const parts: string[] = [];
    const count = hits && (found || stream !== 'both') ? hits.length : store.length;
    for (let row = 0; row < count; row += 1) parts.push(store.whole(hits && (found || stream !== 'both') ? hits[row] : row), '\n');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
    link.download = `${name}.log`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const command = `ferry logs -f${timed ? ' -t' : ''}${wanted === 'all' ? '' : ` -n ${wanted}`} ${word(name)}`;
  return (
    <div class="log-panel">
      <div class="tools log-tools">
        <form
          class="log-search"
          onSubmit={(event) => {
            event.preventDefault();
            step(1);
          }}
        >
          <Search text={text} change={setText} hint={t('searchLog')} />
          {text && (
            <>
              <span class="muted hits" role="status">
                {hits ? (at === undefined ? t('hits', { count: hits.length }) : `${at + 1} / ${hits.length}`) : ''}
              </span>
              <button type="button" class="ghost icon-only" aria-label={t('previous')} onClick={() => step(-1)}>
                <span class="flip">
                  <Icon name="down" />
                </span>
              </button>
              <button type="submit" class="ghost icon-only" aria-label={t('next')}>
                <Icon name="down" />
              </button>
              <label class="choice">
                <input type="checkbox" checked={only} onChange={(event) => setOnly(event.currentTarget.checked)} />
                {t('onlyHits')}
              </label>
            </>
          )}
        </form>
        {!tty && (
          <div class="segments" role="group" aria-label={t('stream')}>
            {STREAMS.map((which) => (
              <button key={which} aria-pressed={stream === which} onClick={() => setStream(which)}>
                {t(which)}
              </button>
            ))}
          </div>
        )}
        <label class="choice">
          <input type="checkbox" checked={timed} onChange={(event) => (times.value = event.currentTarget.checked ? 'yes' : 'no')} />
          {t('times')}
        </label>
        <label class="choice">
          <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />
          {t('follow')}
        </label>
        <select class="short" aria-label={t('howMany')} value={wanted} onChange={(event) => (tail.value = event.currentTarget.value as (typeof TAILS)[number])}>
          {TAILS.map((count) => (
            <option key={count} value={count}>
              {count === 'all' ? t('allLines') : t('lastLines', { count: Number(count).toLocaleString() })}
            </option>
          ))}
        </select>
        <span class="tool-icons">
          <button class="ghost icon-only" title={t('download')} aria-label={t('download')} onClick={download}>
            <Icon name="download" />
          </button>
          <CopyButton text={command} label={command} />
        </span>
      </div>
      {error && <Failure error={error} />}
      {store.length === 0 && done && !error ? (
        <Empty icon="file" title={t('noLog')} text={t('noLogText')} />
      ) : (
        <LogView store={store} places={shown} version={version} times={timed} found={found} current={at === undefined ? undefined : hits?.[at]} follow={follow} setFollow={setFollow} label={t('logs')} />
      )}
      <div class="log-foot muted small" role="status">
        {t('lines', { count: (shown?.length ?? store.length).toLocaleString() })}
        {done ? ` · ${t('ended')}` : ''}
      </div>
    </div>
  );
}
