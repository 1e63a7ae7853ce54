// Services as a picture: what needs what, and how they are.

import { healthOf } from '../container';
import { to } from '../route';
import type { Service } from '../compose';
import { t } from '../words';

const BOX = { width: 190, height: 54, gapX: 70, gapY: 16 };

export function Graph({ all }: { all: Service[] }) {
  const columns = new Map<number, Service[]>();
  for (const service of all) columns.set(service.depth, [...(columns.get(service.depth) ?? []), service]);
  const place = new Map<string, { x: number; y: number }>();
  for (const [depth, column] of columns) {
    column.forEach((service, row) => place.set(service.name, { x: depth * (BOX.width + BOX.gapX) + 2, y: row * (BOX.height + BOX.gapY) + 2 }));
  }
  const width = (Math.max(...columns.keys()) + 1) * (BOX.width + BOX.gapX) - BOX.gapX + 4;
  const height = Math.max(...[...columns.values()].map((column) => column.length)) * (BOX.height + BOX.gapY) - BOX.gapY + 4;
  return (
    <div class="picture-scroll picture" tabIndex={0} role="group" aria-label={t('graph')}>
      <svg viewBox={`0 0 ${width} ${height}`} style={{ width: `${width}px`, height: `${height}px` }} role="group" aria-label={t('graph')}>
        {all.flatMap((service) =>
          service.needs.map((need) => {
            const from = place.get(need);
            const end = place.get(service.name)!;
            if (!from) return null;
            const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + BOX.height / 2, end.x, end.y + BOX.height / 2];
            return <path key={`${need} ${service.name}`} class="picture-line port" d={`M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`} />;
          }),
        )}
        {all.map((service) => {
          const { x, y } = place.get(service.name)!;
          const running = service.containers.filter((container) => container.State === 'running').length;
          const all = service.containers.map(healthOf);
          const health = (['unhealthy', 'starting', 'healthy'] as const).find((one) => all.includes(one));
          const ill = health === 'healthy' ? '' : (health ?? '');
          return (
            <a key={service.name} href={to('containers', service.containers[0].Id)}>
              {service.needs.length > 0 && <title>{t('dependsOn', { names: service.needs.join(', ') })}</title>}
              <rect class="picture-box" x={x} y={y} width={BOX.width} height={BOX.height} rx="9" />
              <circle class={`picture-dot ${running ? 'running' : 'exited'} ${ill}`} cx={x + 18} cy={y + BOX.height / 2} r="4.500" />
              <text class="picture-name" x={x + 34} y={y + 24}>
                {service.name.slice(0, 20)}
              </text>
              <text class="picture-note" x={x + 34} y={y + 41}>
                {t('serviceCount', { running, all: service.containers.length })}
                {health ? ` · ${t(health)}` : ''}
              </text>
            </a>
          );
        })}
      </svg>
    </div>
  );
}

