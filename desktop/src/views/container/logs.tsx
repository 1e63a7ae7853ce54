// The log of a container: live, searched, standard output and error apart, downloaded.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, path, query, tunnel, type Tunnel } from '../../api';
import { remembered, useCell } from '../../cell';
import { word } from '../../format';
import { Demux, LogStore, MOST, literal } from '../../log';
import { CopyButton } from '../../parts/copy';
import { Empty, Failure } from '../../parts/empty';
import { Icon } from '../../parts/icon';
import { LogView } from '../../parts/log-view';
import { Search } from '../../parts/search';
import { t } from '../../words';

const STREAMS = ['both', 'stdout', 'stderr'] as const;
export const times = remembered<'yes' | 'no'>('logs.times', 'yes', ['yes', 'no']);
/** Lines that are there at once; older ones come when somebody goes to them. */
const NEWEST = 5000;
/** Older lines that come at a time: as many as there are, between these. */
const PIECE = { least: 10_000, most: 200_000 };
/** A log from which nothing has come for so many milliseconds is said to be empty so far. */
const QUIET = 400;
/** Lines that tell where the older ones end and the known ones begin. */
const SEAM = 5;
/** New lines that may come while older ones are asked for. */
const MEANWHILE = 1000;
/** Lines that are searched before the page may draw again. */
const SLICE = 40_000;

/** The lines of a container as they come; the number changes with them. */
function useLog(id: string, tty: boolean, started: string) {
  const [version, setVersion] = useState(0);
  const [error, setError] = useState<ApiError>();
  const [done, setDone] = useState(false);
  /** The engine has answered: what was logged so far would be here soon. */
  const [heard, setHeard] = useState(false);
  const store = useMemo(() => new LogStore(), [id, started]);
  useEffect(() => {
    let drawing = 0;
    const again = () => {
      drawing ||= requestAnimationFrame(() => {
        drawing = 0;
        setVersion((count) => count + 1);
      });
    };
    setDone(false);
    setHeard(false);
    setError(undefined);
    let quiet = 0;
    const demux = new Demux(tty, (isError, text) => store.push(isError, text));
    const line = tunnel(
      { path: query(path`/containers/${id}/logs`, { stdout: true, stderr: true, follow: true, timestamps: true, tail: NEWEST }) },
      {
        open: () => {
          quiet = window.setTimeout(() => setHeard(true), QUIET);
        },
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
      clearTimeout(quiet);
      cancelAnimationFrame(drawing);
    };
  }, [store]);
  return { store, version, error, done, heard, again: () => setVersion((count) => count + 1) };
}

/** Where the known lines begin in what was read, or -1. */
function seam(read: string[], known: string[], from: number): number {
  for (let at = Math.max(0, from); at + known.length <= read.length; at += 1) {
    if (known.every((line, place) => read[at + place] === line)) return at;
  }
  return -1;
}

/**
 * Older lines, piece by piece. The API reads from the end only: a piece is asked for as the known lines and as many again, and the
 * stream is closed where the known ones begin.
 */
function useOlder(id: string, tty: boolean, store: LogStore, again: () => void) {
  const [state, setState] = useState<'more' | 'reading' | 'begin'>('more');
  const [read, setRead] = useState(0);
  const line = useRef<Tunnel | undefined>(undefined);
  useEffect(() => {
    setState('more');
    return () => line.current?.close();
  }, [store]);
  const load = (all: boolean) => {
    if (state !== 'more' || store.length === 0) return;
    if (store.length < Math.min(SEAM, NEWEST) || store.length >= MOST) return setState('begin');
    setState('reading');
    setRead(0);
    const wanted = all ? MOST - store.length : Math.min(Math.max(store.length, PIECE.least), PIECE.most, MOST - store.length);
    const known = store.oldest(SEAM);
    const errors: boolean[] = [];
    const texts: string[] = [];
    const settle = (at: number) => {
      line.current?.close();
      line.current = undefined;
      if (at > 0) store.prepend(errors.slice(0, at), texts.slice(0, at));
      setState(at > 0 && !all ? 'more' : 'begin');
      again();
    };
    let settled = false;
    let told = 0;
    const demux = new Demux(tty, (isError, text) => {
      errors.push(isError);
      texts.push(text);
    });
    line.current = tunnel(
      { path: query(path`/containers/${id}/logs`, { stdout: true, stderr: true, timestamps: true, tail: store.length + wanted }) },
      {
        data: (bytes) => {
          if (settled) return;
          const before = texts.length;
          demux.take(bytes);
          // Where as many came as were asked for, the known lines begin here.
          const at = texts.length < wanted - MEANWHILE ? -1 : seam(texts, known, Math.max(before - SEAM, wanted - MEANWHILE));
          if (at >= 0) {
            settled = true;
            settle(at);
          } else if (texts.length - told > 20_000) setRead((told = texts.length));
        },
        end: () => {
          if (!settled) settle(seam(texts, known, 0));
        },
      },
    );
  };
  return { state, read, load };
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
  const { store, version, error, done, heard, again } = useLog(id, tty, started);
  const older = useOlder(id, tty, store, again);
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
  const [saving, setSaving] = useState(false);
  const save = () => {
    const parts: string[] = [];
    const count = hits && (found || stream !== 'both') ? hits.length : store.length;
    for (let row = 0; row < count; row += 1) parts.push(store.whole(hits && (found || stream !== 'both') ? hits[row] : row), '\n');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
    link.download = `${name}.log`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  // A download has all of it: what is not here yet comes first.
  useEffect(() => {
    if (!saving) return;
    if (older.state === 'more') older.load(true);
    if (older.state !== 'begin') return;
    setSaving(false);
    save();
  }, [saving, older.state, version]);
  const download = () => {
    if (older.state === 'begin' || store.length < NEWEST) return save();
    setSaving(true);
  };
  const command = `ferry logs -f${timed ? ' -t' : ''}${older.state === 'begin' ? '' : ` -n ${store.length}`} ${word(name)}`;
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
              {older.state === 'more' && store.length >= NEWEST && (
                <button type="button" class="link" onClick={() => older.load(true)}>
                  {t('searchAll')}
                </button>
              )}
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
        <span class="tool-icons">
          <button class="ghost icon-only" title={t('download')} aria-label={t('download')} onClick={download}>
            <Icon name="download" />
          </button>
          <CopyButton text={command} label={command} />
        </span>
      </div>
      {error && <Failure error={error} />}
      {store.length === 0 && (done || heard) && !error ? (
        <Empty icon="file" title={t('noLog')} text={t(done ? 'noLogText' : 'noLogYet')} />
      ) : (
        <LogView store={store} places={shown} version={version} times={timed} found={found} current={at === undefined ? undefined : hits?.[at]} follow={follow} setFollow={setFollow} label={t('logs')} nearTop={() => older.load(false)} />
      )}
      <div class="log-foot muted small" role="status">
        {t('lines', { count: (shown?.length ?? store.length).toLocaleString() })}
        {done ? ` · ${t('ended')}` : ''}
        {older.state === 'reading' && ` · ${t('readingOlder', { count: older.read.toLocaleString() })}`}
        {older.state === 'more' && store.length >= NEWEST && (
          <button class="link" onClick={() => older.load(true)}>
            {t('readAll')}
          </button>
        )}
        {older.state === 'begin' && store.length >= NEWEST && ` · ${t('fromBegin')}`}
      </div>
    </div>
  );
}
