// The builds that were: what each step took, what came from the cache, and where it failed.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, path } from '../api';
import { decoded, lasted, steps, type Build, type BuildLine, type BuildStep } from '../builds';
import { ago, short, when, word } from '../format';
import { pieces } from '../log';
import { CommandLine } from '../parts/copy';
import { Empty, Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { List, type Column } from '../parts/list';
import { Search } from '../parts/search';
import { go, to } from '../route';
import { t, type Key } from '../words';

/** From question to question: the engine tells of builds only when asked. */
const SOON = 1000;
const LATER = 4000;
/** Letters of a step's output that are drawn. */
const SHOWN = 60_000;

/** Asks again and again while somebody looks, more often while something is under way. */
function useAsked<T>(target: string, busy: (value: T) => boolean): { value?: T; error?: ApiError } {
  const [state, setState] = useState<{ value?: T; error?: ApiError }>({});
  useEffect(() => {
    let waiting = 0;
    let gone = false;
    const ask = async () => {
      let pause = LATER;
      if (!document.hidden) {
        try {
          const value = await get<T>(target);
          if (gone) return;
          setState({ value });
          if (busy(value)) pause = SOON;
        } catch (error) {
          if (gone) return;
          setState({ error: error as ApiError });
        }
      }
      waiting = window.setTimeout(() => void ask(), pause);
    };
    void ask();
    return () => {
      gone = true;
      clearTimeout(waiting);
    };
  }, [target]);
  return state;
}

export const buildName = (build: BuildLine) => build.Tags.join(', ') || build.Target || short(build.Id);

function BuildState({ build }: { build: BuildLine }) {
  const dot = { running: 'running starting', done: 'running', failed: 'running unhealthy', cancelled: 'exited' }[build.State];
  return (
    <span class="state">
      <span class={`dot ${dot}`} aria-hidden="true" />
      <span>{t(`build_${build.State}` as Key)}</span>
    </span>
  );
}

const took = (build: BuildLine) => (build.Ended ? Date.parse(build.Ended) : Date.now()) - Date.parse(build.Started);

function columns(): Column<BuildLine>[] {
  return [
    {
      key: 'name',
      title: t('image'),
      width: 'minmax(0, 2fr)',
      sort: buildName,
      cell: (build) => (
        <a class="name" href={to('builds', build.Id)}>
          {buildName(build)}
          <span class="muted small mono">{build.Dockerfile}</span>
        </a>
      ),
    },
    { key: 'state', title: t('status'), width: 'minmax(120px, 1fr)', narrow: '110px', sort: (build) => build.State, cell: (build) => <BuildState build={build} /> },
    { key: 'steps', title: t('steps'), width: '90px', wide: true, end: true, sort: (build) => build.Steps, cell: (build) => `${build.Completed} / ${build.Steps}` },
    { key: 'cached', title: t('fromCache'), width: '120px', wide: true, end: true, sort: (build) => build.Cached, cell: (build) => <span class="muted">{build.Cached}</span> },
    { key: 'took', title: t('took'), width: '100px', narrow: '76px', end: true, sort: took, cell: (build) => lasted(took(build)) },
    { key: 'begun', title: t('begun'), width: 'minmax(110px, 1fr)', wide: true, end: true, sort: (build) => -Date.parse(build.Started), cell: (build) => <span class="muted">{ago(new Date(build.Started))}</span> },
  ];
}

export function Builds() {
  const { value: all, error } = useAsked<BuildLine[]>('/build/history', (builds) => builds.some((build) => build.State === 'running'));
  const [text, setText] = useState('');
  const rows = (all ?? []).filter((build) => `${buildName(build)} ${build.Dockerfile} ${build.Id}`.toLowerCase().includes(text.toLowerCase()));
  return (
    <>
      <header class="view-head">
        <h1>{t('builds')}</h1>
      </header>
      {error && (error.status === 404 ? <Empty icon="builds" title={t('noBuildList')} text={t('noBuildListText')} /> : <Failure error={error} />)}
      {!all && !error && <Loading />}
      {all?.length === 0 && (
        <Empty icon="builds" title={t('noBuilds')} text={t('noBuildsText')}>
          <CommandLine command="ferry build -t app ." />
        </Empty>
      )}
      {all && all.length > 0 && (
        <>
          <div class="tools">
            <Search text={text} change={setText} hint={t('searchBuilds')} />
          </div>
          {rows.length === 0 && <Empty icon="search" title={t('noMatch')} />}
          {rows.length > 0 && <List label={t('builds')} rows={rows} columns={columns()} id={(build) => build.Id} name={buildName} open={(build) => go('builds', build.Id)} />}
        </>
      )}
    </>
  );
}

/** Output of a step, with its colours. */
function StepLog({ text }: { text: string }) {
  const cut = text.length > SHOWN;
  const lines = (cut ? text.slice(-SHOWN) : text).replace(/\n$/, '').split('\n');
  return (
    <pre class="step-log" tabIndex={0} aria-label={t('logs')}>
      {cut && <span class="muted">… {'\n'}</span>}
      {lines.map((line, place) => (
        <span key={place}>
          {pieces(line.replace(/.*\r(?=.)/, '')).map((piece, part) => (piece.style ? <span key={part} class={piece.style}>{piece.text}</span> : piece.text))}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}

function Step({ step, whole, open, toggle }: { step: BuildStep; whole: number; open: boolean; toggle: () => void }) {
  const kind = step.error ? 'failed' : step.cached ? 'cached' : step.running ? 'under' : 'done';
  const has = step.log !== '' || step.error !== '';
  return (
    <li class={`build-step ${kind}`}>
      <button class="step-line" aria-expanded={has ? open : undefined} disabled={!has} onClick={toggle}>
        <span class="step-mark" aria-hidden="true">
          <Icon name={step.error ? 'close' : step.running ? 'right' : 'check'} size={14} />
        </span>
        <span class="step-name mono" title={step.name}>
          {step.name}
        </span>
        <span class="step-time">{step.cached ? <span class="badge">{t('cached')}</span> : lasted(step.to - step.from)}</span>
        <span class="step-track" aria-hidden="true">
          <span class="step-bar" style={{ marginLeft: `${(step.from / whole) * 100}%`, width: `${Math.max(0.4, ((step.to - step.from) / whole) * 100)}%` }} />
        </span>
        <span class="unseen">{t(`step_${kind}` as Key)}</span>
      </button>
      {open && has && (
        <div class="step-inside">
          {step.error && <p class="bad">{step.error}</p>}
          {step.log && <StepLog text={step.log} />}
        </div>
      )}
    </li>
  );
}

function Excerpt({ place }: { place: NonNullable<Build['Place']> }) {
  return (
    <section class="card">
      <h2>
        {place.file}:{place.first}
      </h2>
      <pre class="excerpt" tabIndex={0} aria-label={t('failingLines')}>
        {place.lines.map(([number, text]) => (
          <span key={number} class={number >= place.first && number <= place.last ? 'at-fault' : ''}>
            <span class="line-number">{number}</span>
            <span>{number >= place.first && number <= place.last ? '› ' : '  '}</span>
            {text}
            {'\n'}
          </span>
        ))}
      </pre>
    </section>
  );
}

export function BuildPage({ id }: { id: string }) {
  const { value: build, error } = useAsked<Build>(path`/build/history/${id}`, (one) => one.State === 'running');
  const [opened, setOpened] = useState(new Map<string, boolean>());
  const [all, setAll] = useState(false);
  const told = build && steps(build, Date.now());
  const isOpen = (step: BuildStep) => opened.get(step.id) ?? (all || step.error !== '' || step.running);
  return (
    <>
      <header class="view-head">
        <a class="back" href={to('builds')}>
          {t('builds')}
        </a>
        <span class="muted" aria-hidden="true">
          /
        </span>
        <h1>{build ? buildName(build) : short(id)}</h1>
        {build && <BuildState build={build} />}
        {build?.Image && (
          <span class="spread">
            <a class="button" href={to('images', build.Image)}>
              <Icon name="images" size={15} />
              {t('image')}
            </a>
          </span>
        )}
      </header>
      {error && <Failure error={error} />}
      {!build && !error && <Loading />}
      {build && told && (
        <div class="stack">
          <dl class="facts inline-facts card">
            {(
              [
                [t('begun'), when(new Date(build.Started))],
                [t('took'), lasted(took(build))],
                [t('steps'), `${build.Completed} / ${build.Steps}`],
                [t('fromCache'), String(build.Cached)],
              ] as const
            ).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
          {build.Error && (
            <div class="notice failed" role="alert">
              <Icon name="warning" />
              <div>{build.Error}</div>
            </div>
          )}
          {build.Place && <Excerpt place={build.Place} />}
          <section class="card">
            <div class="card-head wrap">
              <h2>{t('steps')}</h2>
              <label class="choice">
                <input
                  type="checkbox"
                  checked={all}
                  onChange={(event) => {
                    setAll(event.currentTarget.checked);
                    setOpened(new Map());
                  }}
                />
                {t('allOutput')}
              </label>
            </div>
            <ol class="build-steps">
              {told.all.map((step) => (
                <Step key={step.id} step={step} whole={told.whole} open={isOpen(step)} toggle={() => setOpened(new Map(opened).set(step.id, !isOpen(step)))} />
              ))}
            </ol>
            {build.Cut && <p class="muted small">{t('outputCut')}</p>}
          </section>
          {(build.Status.warnings ?? []).length > 0 && (
            <section class="card">
              <h2>{t('warnings')}</h2>
              <ul class="rows">
                {build.Status.warnings!.map((warning, place) => (
                  <li key={place}>{decoded(warning.short)}</li>
                ))}
              </ul>
            </section>
          )}
          <CommandLine command={`ferry build ${build.Tags.map((tag) => `-t ${word(tag)} `).join('')}${build.Target ? `--target ${word(build.Target)} ` : ''}.`} />
        </div>
      )}
    </>
  );
}
