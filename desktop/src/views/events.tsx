// What happens, as it happens.

import { useState } from 'preact/hooks';
import { useCell } from '../cell';
import { clock, short, when } from '../format';
import { CommandLine } from '../parts/copy';
import { Empty } from '../parts/empty';
import { List, type Column } from '../parts/list';
import { Search } from '../parts/search';
import { to } from '../route';
import { events } from '../state';
import type { EngineEvent } from '../types';
import { t, type Key } from '../words';

const KINDS = ['all', 'container', 'image', 'network', 'volume'] as const;
const PLACES: Record<string, string> = { container: 'containers', image: 'images', network: 'networks', volume: 'volumes' };

function Subject({ event }: { event: EngineEvent }) {
  const { ID: id, Attributes: attributes } = event.Actor;
  const name = event.Type === 'volume' || !/^(sha256:)?[0-9a-f]{64}$/.test(attributes.name ?? id) ? (attributes.name ?? id) : short(attributes.name ?? id);
  const place = PLACES[event.Type];
  const gone = ['destroy', 'delete', 'untag'].includes(event.Action);
  return place && id && !gone ? <a href={to(place, id)}>{name}</a> : <span>{name}</span>;
}

export function Events() {
  const all = useCell(events);
  const [kind, setKind] = useState<(typeof KINDS)[number]>('all');
  const [text, setText] = useState('');
  const rows = all.filter((event) => {
    const words = `${event.Action} ${event.Actor.ID} ${Object.values(event.Actor.Attributes).join(' ')}`.toLowerCase();
    return (kind === 'all' || event.Type === kind) && words.includes(text.toLowerCase());
  });
  const columns: Column<EngineEvent>[] = [
    { key: 'time', title: t('time'), width: '120px', cell: (event) => <span class="mono" title={when(new Date(event.time * 1000))}>{clock(new Date(event.timeNano / 1e6))}</span> },
    { key: 'type', title: t('kind'), width: '100px', wide: true, cell: (event) => <span class="muted">{KINDS.includes(event.Type as 'all') ? t(`kind_${event.Type}` as Key) : event.Type}</span> },
    { key: 'action', title: t('happened'), width: 'minmax(0, 1.4fr)', cell: (event) => <span class={`cut ${event.Action === 'die' && event.Actor.Attributes.exitCode !== '0' ? 'change-2' : ''}`}>{event.Action}</span> },
    { key: 'who', title: t('what'), width: 'minmax(0, 2fr)', cell: (event) => <span class="cut"><Subject event={event} /></span> },
    {
      key: 'more',
      title: '',
      width: 'minmax(0, 1.6fr)',
      wide: true,
      cell: ({ Actor: { Attributes: more } }) => <span class="muted small cut">{[more.image, more.exitCode && t('exitCode', { code: more.exitCode }), more.signal && `signal ${more.signal}`, more.container && short(more.container)].filter(Boolean).join(' · ')}</span>,
    },
  ];
  return (
    <>
      <header class="view-head">
        <h1>{t('events')}</h1>
        <span class="spread">
          <CommandLine command="ferry events" />
        </span>
      </header>
      <div class="tools">
        <Search text={text} change={setText} hint={t('searchEvents')} />
        <div class="segments" role="group" aria-label={t('kind')}>
          {KINDS.map((name) => (
            <button key={name} aria-pressed={kind === name} onClick={() => setKind(name)}>
              {t(name === 'all' ? 'all' : `${name}s`)}
            </button>
          ))}
        </div>
      </div>
      {rows.length === 0 ? <Empty icon="events" title={t('noEvents')} text={t('noEventsText')} /> : <List label={t('events')} rows={rows} columns={columns} id={(event) => `${event.timeNano}${event.Action}${event.Actor.ID}`} name={(event) => event.Action} />}
    </>
  );
}
