// The first view: the engine, what runs, and what the disk holds.

import { useEffect } from 'preact/hooks';
import { useCell } from '../cell';
import { nameOf } from '../container';
import { bytes, memory, percent } from '../format';
import { CommandLine } from '../parts/copy';
import { Failure, Loading } from '../parts/empty';
import { loadMore } from '../parts/more';
import { UsageCharts } from '../parts/usage-charts';
import { to } from '../route';
import { containers, disk, info, version } from '../state';
import type { DiskUsage } from '../types';
import { samples } from '../usage';
import { t } from '../words';
import type { Prunable } from './prune';

interface Room {
  kind: Prunable;
  title: string;
  size: number;
  free: number;
  count: number;
}

/** Sizes by kind, and what nobody uses of them: what `system df` counts. */
export function rooms(usage: DiskUsage): Room[] {
  const images = usage.Images ?? [];
  const boxes = usage.Containers ?? [];
  const volumes = usage.Volumes ?? [];
  // What is shared counts as the images'.
  const cache = usage.BuildCache ?? [];
  const sum = (sizes: number[]) => sizes.reduce((all, size) => all + Math.max(0, size), 0);
  const used = sum(images.filter((image) => image.Containers > 0).map((image) => image.Size - Math.max(0, image.SharedSize)));
  const shared = Math.max(0, ...images.filter((image) => image.Containers > 0).map((image) => image.SharedSize));
  return [
    { kind: 'images', title: t('diskImages'), size: usage.LayersSize, free: Math.max(0, usage.LayersSize - used - shared), count: images.length },
    {
      kind: 'containers',
      title: t('diskContainers'),
      size: sum(boxes.map((box) => box.SizeRw ?? 0)),
      free: sum(boxes.filter((box) => !['running', 'paused', 'restarting'].includes(box.State)).map((box) => box.SizeRw ?? 0)),
      count: boxes.length,
    },
    {
      kind: 'volumes',
      title: t('diskVolumes'),
      size: sum(volumes.map((volume) => volume.UsageData?.Size ?? 0)),
      free: sum(volumes.filter((volume) => volume.UsageData?.RefCount === 0).map((volume) => volume.UsageData!.Size)),
      count: volumes.length,
    },
    { kind: 'buildCache', title: t('diskCache'), size: sum(cache.filter((item) => !item.Shared).map((item) => item.Size)), free: sum(cache.filter((item) => !item.InUse && !item.Shared).map((item) => item.Size)), count: cache.length },
  ];
}

function Disk() {
  useEffect(() => disk.show(), []);
  const usage = useCell(disk);
  const error = useCell(disk.error);
  if (error) return <Failure error={error} />;
  if (!usage) return <Loading />;
  const all = rooms(usage);
  const whole = Math.max(1, ...all.map((room) => room.size));
  return (
    <div class="rooms">
      {all.map((room) => (
        <div class="room" key={room.title}>
          <div class="room-head">
            <span>
              {room.title} <span class="muted">{room.count}</span>
            </span>
            <strong>{bytes(room.size)}</strong>
          </div>
          <div class="bar" aria-hidden="true">
            <span class="bar-used" style={{ width: `${((room.size - room.free) / whole) * 100}%` }} />
            <span class="bar-free" style={{ width: `${(room.free / whole) * 100}%` }} />
          </div>
          <div class="room-foot small">
            <span class="muted">{room.free > 0 ? t('reclaimable', { size: bytes(room.free) }) : t('nothingToFree')}</span>
            <button class="link" aria-label={t('pruneOf', { name: room.title })} onClick={() => loadMore(({ askPrune }) => askPrune(room.kind))}>
              {t('prune')}
            </button>
          </div>
        </div>
      ))}
    </div>
  );
}

function Engine() {
  useEffect(() => info.show(), []);
  useEffect(() => version.show(), []);
  const about = useCell(info);
  const spoken = useCell(version);
  const error = useCell(info.error);
  if (error) return <Failure error={error} />;
  if (!about) return <Loading />;
  const facts: [string, string][] = [
    [t('engineVersion'), about.ServerVersion],
    [t('apiVersion'), spoken?.ApiVersion ?? ''],
    [t('host'), about.Name],
    [t('system_'), `${about.OperatingSystem} (${about.Architecture})`],
    [t('kernel'), about.KernelVersion],
    [t('processors'), String(about.NCPU)],
    [t('memory'), memory(about.MemTotal)],
    [t('storage'), about.Driver],
    [t('cgroups'), `v${about.CgroupVersion}`],
    [t('dataRoot'), about.DockerRootDir],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Those that use the processor most, over the last samples. */
function Busiest() {
  const list = useCell(containers) ?? [];
  const last = useCell(samples).slice(-5);
  const rows = list
    .filter((container) => last.at(-1)?.rows.has(container.Id))
    .map((container) => {
      const uses = last.flatMap((sample) => sample.rows.get(container.Id) ?? []);
      return { container, cpu: uses.reduce((all, use) => all + use.cpu, 0) / uses.length, memory: uses.at(-1)!.memory };
    })
    .sort((a, b) => b.cpu - a.cpu || b.memory - a.memory)
    .slice(0, 6);
  if (rows.length === 0) return <p class="muted">{t('nothingRuns')}</p>;
  const most = Math.max(...rows.map((row) => row.cpu), 1);
  return (
    <ul class="busiest">
      {rows.map(({ container, cpu, memory: held }) => (
        <li key={container.Id}>
          <a class="cut" href={to('containers', container.Id, 'stats')}>
            {nameOf(container)}
          </a>
          <span class="bar" aria-hidden="true">
            <span class="bar-used" style={{ width: `${(cpu / most) * 100}%` }} />
          </span>
          <span class="figure">{percent(cpu)}</span>
          <span class="figure muted">{memory(held)}</span>
        </li>
      ))}
    </ul>
  );
}

export function Overview() {
  useEffect(() => containers.show(), []);
  const list = useCell(containers);
  const partial = useCell(containers.partial);
  const running = list?.filter((container) => container.State === 'running').length ?? 0;
  return (
    <>
      <header class="view-head">
        <h1>{t('overview')}</h1>
        {list && !partial && (
          <a href={to('containers')} class="muted">
            {t('runningOf', { running, all: list.length })}
          </a>
        )}
      </header>
      <section class="card wide-card">
        <h2>{t('resources')}</h2>
        <UsageCharts />
      </section>
      <div class="cards">
        <section class="card">
          <h2>{t('busiest')}</h2>
          <Busiest />
        </section>
        <section class="card">
          <h2>{t('disk')}</h2>
          <Disk />
          <CommandLine command="ferry system df" />
        </section>
        <section class="card">
          <h2>{t('engine')}</h2>
          <Engine />
          <CommandLine command="ferry info" />
        </section>
      </div>
    </>
  );
}
