// A figure over time: a line with the area below it. The moment that is pointed at is shown instead of the last.

import { useState } from 'preact/hooks';
import { clock } from '../format';
import { t } from '../words';

interface ChartProps {
  title: string;
  /** The newest, as text. */
  now: string;
  /** One or two lines. */
  lines: { name: string; values: number[] }[];
  times: number[];
  show: (value: number) => string;
  /** The scale reaches at least to here. */
  least?: number;
  /** The time that the width stands for, in milliseconds. */
  span?: number;
  /** Steps of the scale are powers of two. */
  binary?: boolean;
}

const WIDTH = 600;
const HEIGHT = 120;

/** The next figure that is a power of two, or 1, 2 or 5 times a power of ten. */
function ceiling(value: number, binary: boolean): number {
  if (value <= 0) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

export function Chart({ title, now, lines, times, show, least = 0, span = 120_000, binary = false }: ChartProps) {
  const top = ceiling(Math.max(least, ...lines.flatMap((line) => line.values)), binary);
  const end = times.at(-1) ?? 0;
  const x = (time: number) => WIDTH - ((end - time) / span) * WIDTH;
  const y = (value: number) => HEIGHT - 4 - (value / top) * (HEIGHT - 12);
  const first = Math.max(0, times.findIndex((time) => end - time <= span) - 1);
  const points = (values: number[]) => values.slice(first).map((value, place) => `${x(times[first + place]).toFixed(1)},${y(value).toFixed(1)}`);
  const [at, setAt] = useState<number>();
  // The sample nearest to the pointer.
  const look = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const wanted = end - (1 - (event.clientX - box.left) / box.width) * span;
    const seen = times.slice(first);
    setAt(seen.length > 0 ? seen.reduce((best, time) => (Math.abs(time - wanted) < Math.abs(best - wanted) ? time : best)) : undefined);
  };
  const place = at === undefined ? -1 : times.indexOf(at);
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        {place >= 0 && <span class="muted small chart-at">{clock(new Date(times[place])).replace(/[.,]\d+$/, '')}</span>}
        <strong>{place < 0 ? now : lines.map((line) => show(line.values[place])).join(' / ')}</strong>
      </figcaption>
      <div class="chart-box">
        <span class="chart-top" aria-hidden="true">
          {show(top)}
        </span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${now}`} onPointerMove={look} onPointerLeave={() => setAt(undefined)}>
          <line x1="0" x2={WIDTH} y1={y(top)} y2={y(top)} class="chart-grid" />
          <line x1="0" x2={WIDTH} y1={y(top / 2)} y2={y(top / 2)} class="chart-grid" />
          {times.length > 1 &&
            lines.map((line, place) => {
              const all = points(line.values);
              return (
                <g key={line.name} class={`chart-line chart-line-${place}`}>
                  {place === 0 && <polygon points={`${x(times[first])},${HEIGHT} ${all.join(' ')} ${WIDTH},${HEIGHT}`} />}
                  <polyline points={all.join(' ')} vector-effect="non-scaling-stroke" />
                </g>
              );
            })}
          {place >= 0 && <line class="chart-pointer" x1={x(times[place])} x2={x(times[place])} y1="0" y2={HEIGHT} vector-effect="non-scaling-stroke" />}
        </svg>
      </div>
      <div class="chart-times muted" aria-hidden="true">
        <span>{t('minutesAgo', { count: span / 60_000 })}</span>
        <span>{t('now')}</span>
      </div>
      {lines.length > 1 && (
        <div class="chart-legend">
          {lines.map((line, number) => (
            <span key={line.name} class={`legend-${number}`}>
              {line.name}
            </span>
          ))}
        </div>
      )}
    </figure>
  );
}
