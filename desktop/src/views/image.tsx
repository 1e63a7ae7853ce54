// One image: its names, how it was made, and what each layer brought.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, path, query, send } from '../api';
import { useCell } from '../cell';
import { ago, bytes, short, when, word } from '../format';
import { CommandLine, CopyButton } from '../parts/copy';
import { Failure, Loading } from '../parts/empty';
import { Icon } from '../parts/icon';
import { to } from '../route';
import { images } from '../state';
import { t } from '../words';
import { Inspect } from './container/inspect';
import { askRemoveImages, askTag } from './images';
import { askRun } from './run';
import { askPush } from './transfer';

interface Detail {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created?: string;
  Size: number;
  Os: string;
  Architecture: string;
  Config: { Env?: string[] | null; Cmd?: string[] | null; Entrypoint?: string[] | null; WorkingDir?: string; User?: string; ExposedPorts?: Record<string, object>; Labels?: Record<string, string> | null } | null;
}

interface Step {
  Id: string;
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

interface Layer {
  digest: string;
  size: number;
  files: number;
  added: number;
  changed: number;
  deleted: number;
  wasted: number;
  largest: { path: string; size: number; kind: 'added' | 'changed' | 'deleted' }[];
}

/** A step as a line of a Dockerfile, as far as it can be told. */
export function instruction(step: string): string {
  const text = step.replace(/\s*# buildkit$/, '').replace(/^RUN \/bin\/sh -c /, 'RUN ').trim();
  if (text.startsWith('/bin/sh -c #(nop)')) return text.slice('/bin/sh -c #(nop)'.length).trim();
  if (text.startsWith('/bin/sh -c ')) return `RUN ${text.slice('/bin/sh -c '.length)}`;
  return text;
}

function Layers({ id, name, steps }: { id: string; name: string; steps: Step[] }) {
  const [layers, setLayers] = useState<Layer[]>();
  const [error, setError] = useState<ApiError>();
  const [under, setUnder] = useState(false);
  const [open, setOpen] = useState<number>();
  const look = async () => {
    setUnder(true);
    try {
      const response = await send(query('/files/layers', { image: id }));
      const told = (await response.json()) as { layers: Layer[]; message?: string };
      if (!response.ok) throw new ApiError(response.status, told.message ?? '');
      setLayers(told.layers);
    } catch (failed) {
      setError(failed as ApiError);
    }
    setUnder(false);
  };
  // The history is newest first; layers are oldest first, and only steps that changed files have one.
  const oldest = [...steps].reverse();
  const most = Math.max(1, ...oldest.map((step) => step.Size));
  const wasted = layers?.reduce((all, layer) => all + layer.wasted, 0) ?? 0;
  const filled = oldest.filter((step) => step.Size > 0).length;
  let next = 0;
  const rows = oldest.map((step) => {
    // Where as many steps have a size as there are layers, they belong together in order.
    const own = layers && (layers.length === filled ? step.Size > 0 : true) ? layers[next++] : undefined;
    return { step, own };
  });
  return (
    <section class="card">
      <div class="card-head">
        <h2>{t('history')}</h2>
        {!layers && (
          <button disabled={under} onClick={() => void look()}>
            <Icon name="search" size={15} />
            {under ? t('looking') : t('lookInto')}
          </button>
        )}
      </div>
      {error && <Failure error={error} />}
      {layers && <p class="muted">{wasted > 0 ? t('wasted', { size: bytes(wasted) }) : t('nothingWasted')}</p>}
      <ol class="steps">
        {rows.map(({ step, own }, place) => (
          <li key={place}>
            <div class="step">
              <code>{instruction(step.CreatedBy) || step.Comment || '–'}</code>
              <span class="bar" aria-hidden="true">
                <span class="bar-used" style={{ width: `${(step.Size / most) * 100}%` }} />
              </span>
              <span class="figure">{step.Size > 0 ? bytes(step.Size) : <span class="muted">0 B</span>}</span>
            </div>
            {own && own.files > 0 && (
              <div class="step-files">
                <button class="ghost" aria-expanded={open === place} onClick={() => setOpen(open === place ? undefined : place)}>
                  <Icon name={open === place ? 'down' : 'right'} size={14} />
                  {t('layerFiles', { count: own.files })}
                  <span class="change-1">+{own.added}</span>
                  {own.changed > 0 && <span>~{own.changed}</span>}
                  {own.deleted > 0 && <span class="change-2">−{own.deleted}</span>}
                </button>
                {open === place && (
                  <ul>
                    {own.largest.map((file) => (
                      <li key={file.path}>
                        <code class={`cut ${file.kind === 'deleted' ? 'change-2' : ''}`}>/{file.path}</code>
                        <span class="muted">{file.kind === 'deleted' ? t('deleted') : bytes(file.size)}</span>
                      </li>
                    ))}
                  </ul>
                )}
              </div>
            )}
          </li>
        ))}
      </ol>
      <CommandLine command={`ferry history --no-trunc ${word(name)}`} />
    </section>
  );
}

export function Image({ id }: { id: string }) {
  const all = useCell(images);
  useEffect(() => images.show(), []);
  const [detail, setDetail] = useState<Detail>();
  const [steps, setSteps] = useState<Step[]>();
  const [error, setError] = useState<ApiError>();
  const gone = all !== undefined && !all.some((image) => image.Id === id);
  useEffect(() => {
    if (gone) return;
    get<Detail>(path`/images/${id}/json`).then(setDetail, setError);
    get<Step[]>(path`/images/${id}/history`).then(setSteps, setError);
  }, [id, all]);
  const name = detail?.RepoTags?.[0] ?? short(id);
  const summary = all?.find((image) => image.Id === id);
  const config = detail?.Config ?? {};
  const facts: [string, string][] = [
    [t('id'), id],
    [t('digest'), (detail?.RepoDigests ?? []).join('\n')],
    [t('platform'), detail ? `${detail.Os}/${detail.Architecture}` : ''],
    [t('created'), detail?.Created && !detail.Created.startsWith('0001') ? `${when(new Date(detail.Created))} (${ago(new Date(detail.Created))})` : ''],
    [t('size'), detail ? bytes(detail.Size) : ''],
    [t('entrypoint'), (config.Entrypoint ?? []).map(word).join(' ')],
    [t('command'), (config.Cmd ?? []).map(word).join(' ')],
    [t('workingDir'), config.WorkingDir ?? ''],
    [t('user'), config.User ?? ''],
    [t('ports'), Object.keys(config.ExposedPorts ?? {}).join(', ')],
    [t('environment'), (config.Env ?? []).join('\n')],
    [t('labels'), Object.entries(config.Labels ?? {}).map(([key, value]) => `${key}=${value}`).join('\n')],
  ];
  return (
    <>
      <header class="view-head">
        <a class="back" href={to('images')}>
          {t('images')}
        </a>
        <span class="muted" aria-hidden="true">
          /
        </span>
        <h1>{name}</h1>
        {summary && (
          <span class="spread">
            <button class="primary" onClick={() => askRun(detail?.RepoTags?.[0] ?? id)}>
              <Icon name="play" size={15} />
              {t('run')}
            </button>
            <button onClick={() => askTag({ image: summary, name: detail?.RepoTags?.[0] ?? '' })}>
              <Icon name="tag" size={15} />
              {t('tag')}
            </button>
            {detail?.RepoTags?.[0] && (
              <button onClick={() => askPush(detail.RepoTags![0])}>
                <Icon name="upload" size={15} />
                {t('push')}
              </button>
            )}
            <button class="danger" onClick={() => askRemoveImages([{ image: summary, name: detail?.RepoTags?.[0] ?? '' }])}>
              <Icon name="trash" size={15} />
              {t('remove')}
            </button>
          </span>
        )}
      </header>
      {gone ? (
        <p class="muted">{t('imageGone')}</p>
      ) : error ? (
        <Failure error={error} />
      ) : !detail || !steps ? (
        <Loading />
      ) : (
        <div class="stack">
          <Layers id={id} name={name} steps={steps} />
          <section class="card">
            <h2>{t('configuration')}</h2>
            <dl class="facts">
              {(detail.RepoTags ?? []).length > 1 && (
                <div>
                  <dt>{t('tags')}</dt>
                  <dd>{detail.RepoTags!.join(', ')}</dd>
                </div>
              )}
              {facts
                .filter(([, value]) => value)
                .map(([label, value]) => (
                  <div key={label}>
                    <dt>{label}</dt>
                    <dd>
                      <code class="lines">{value}</code> {label === t('id') && <CopyButton text={id} label={t('copyId')} />}
                    </dd>
                  </div>
                ))}
            </dl>
          </section>
          <details class="card">
            <summary>{t('inspect')}</summary>
            <Inspect target={path`/images/${id}/json`} command={`ferry image inspect ${word(name)}`} />
          </details>
        </div>
      )}
    </>
  );
}
