// The four graphs of what is used: of all containers, or of one.

import { useEffect } from 'preact/hooks';
import { useCell } from '../cell';
import { bytes, memory, percent } from '../format';
import { samples, watch, type Use } from '../usage';
import { t } from '../words';
import { Chart } from './chart';

export function UsageCharts({ id }: { id?: string }) {
  useEffect(() => watch(), []);
  const all = useCell(samples).filter((sample) => !id || sample.rows.has(id));
  const figure = (of: (use: Use) => number) =>
    all.map(({ rows }) => {
      if (id) return of(rows.get(id)!);
      let sum = 0;
      for (const use of rows.values()) sum += of(use);
      return sum;
    });
  const times = all.map((sample) => sample.time);
  const rate = (value: number) => `${bytes(value)}/s`;
  const last = (values: number[]) => values.at(-1) ?? 0;
  const [cpu, held, received, sent, read, written] = [
    figure((use) => use.cpu),
    figure((use) => use.memory),
    figure((use) => use.received),
    figure((use) => use.sent),
    figure((use) => use.read),
    figure((use) => use.written),
  ];
  return (
    <div class="charts">
      <Chart title={t('cpu')} now={percent(last(cpu))} lines={[{ name: t('cpu'), values: cpu }]} times={times} show={percent} least={5} />
      <Chart title={t('memory')} now={memory(last(held))} lines={[{ name: t('memory'), values: held }]} times={times} show={memory} least={1 << 20} binary />
      <Chart
        title={t('network')}
        now={`↓ ${rate(last(received))}  ↑ ${rate(last(sent))}`}
        lines={[
          { name: t('received'), values: received },
          { name: t('sent'), values: sent },
        ]}
        times={times}
        show={rate}
        least={1000}
      />
      <Chart
        title={t('blockIo')}
        now={`${rate(last(read))} / ${rate(last(written))}`}
        lines={[
          { name: t('read'), values: read },
          { name: t('written'), values: written },
        ]}
        times={times}
        show={rate}
        least={1000}
      />
    </div>
  );
}
