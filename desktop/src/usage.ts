// What running containers use, sample by sample.

import { lines, tunnel } from './api';
import { Cell } from './cell';

export interface Use {
  cpu: number;
  memory: number;
  limit: number;
  received: number;
  sent: number;
  read: number;
  written: number;
  processes: number;
}

export interface Sample {
  time: number;
  rows: Map<string, Use>;
}

type Row = [string, number, number, number, number, number, number, number, number];

/** The last ten minutes at most. */
export const samples = new Cell<Sample[]>([]);
const KEPT = 300;

let viewers = 0;
let stop: (() => void) | undefined;

function listen(): void {
  if (stop || viewers === 0 || document.hidden) return;
  let fresh: Sample[] = [];
  let again: ReturnType<typeof setTimeout> | undefined;
  const line = tunnel(
    { path: '/usage' },
    {
      data: lines<{ time: number; rows: Row[] }>(({ time, rows }) => {
        const use = ([id, cpu, memory, limit, received, sent, read, written, processes]: Row): [string, Use] => [id, { cpu, memory, limit, received, sent, read, written, processes }];
        fresh = [...fresh, { time, rows: new Map(rows.map(use)) }].slice(-KEPT);
        samples.value = fresh;
      }),
      end: () => {
        again = setTimeout(() => {
          stop = undefined;
          listen();
        }, 2000);
      },
    },
  );
  stop = () => {
    clearTimeout(again);
    line.close();
    stop = undefined;
  };
}

/** Samples come in until the answer is called; not while nobody can see the page. */
export function watch(): () => void {
  viewers += 1;
  listen();
  return () => {
    viewers -= 1;
    if (viewers === 0) stop?.();
  };
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) stop?.();
  else listen();
});
