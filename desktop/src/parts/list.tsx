// A table of any length, of which only the rows in sight are drawn.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../words';

export interface Column<T> {
  key: string;
  title: string;
  /** A width of CSS grid. */
  width: string;
  /** Its width on narrow windows, where it is another. */
  narrow?: string;
  cell: (row: T) => ComponentChildren;
  /** What it is sorted by; without, it cannot be. */
  sort?: (row: T) => string | number;
  /** Not on narrow windows. */
  wide?: boolean;
  end?: boolean;
}

interface ListProps<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  name: (row: T) => string;
  open?: (row: T) => void;
  selected?: Set<string>;
  select?: (ids: Set<string>) => void;
  sorted?: { key: string; down: boolean };
}

const ROW = 48;
/** Rows that are drawn beyond those in sight. */
const BEYOND = 8;
/** What is above a list on the page, mostly; told truly by the first measurement. */
const ABOVE = 190;

export function List<T>({ label, rows, columns, id, name, open, selected, select, sorted }: ListProps<T>) {
  const frame = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(Math.max(ROW, innerHeight - ABOVE));
  // The first drawing has what is in sight, and nothing else to wait for.
  const [beyond, setBeyond] = useState(0);
  const [order, setOrder] = useState(sorted);
  useEffect(() => {
    const list = frame.current;
    const scroller = list?.closest('main');
    if (!list || !scroller) return;
    // A list that is gone already may hear of one more scroll: not of `frame`, which is empty by then.
    const measure = () => {
      const from = list.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
      setTop(Math.max(0, -from));
      setHeight(scroller.clientHeight - Math.max(0, from));
    };
    const drawn = setTimeout(() => {
      measure();
      setBeyond(BEYOND);
    }, 50);
    scroller.addEventListener('scroll', measure, { passive: true });
    window.addEventListener('resize', measure);
    return () => {
      clearTimeout(drawn);
      scroller.removeEventListener('scroll', measure);
      window.removeEventListener('resize', measure);
    };
  }, []);

  const by = columns.find((column) => column.key === order?.key)?.sort;
  const shown = by
    ? [...rows].sort((a, b) => {
        const [left, right] = [by(a), by(b)];
        const less = typeof left === 'number' ? left - (right as number) : left.localeCompare(String(right), undefined, { numeric: true });
        return order!.down ? -less : less;
      })
    : rows;
  const first = Math.max(0, Math.floor(top / ROW) - beyond);
  const last = Math.min(shown.length, Math.ceil((top + height) / ROW) + beyond);
  const widths = (narrow: boolean) => [...(select ? ['36px'] : []), ...columns.filter((column) => !narrow || !column.wide).map((column) => (narrow ? (column.narrow ?? column.width) : column.width))].join(' ');
  const toggle = (key: string) => {
    const next = new Set(selected);
    if (!next.delete(key)) next.add(key);
    select?.(next);
  };
  const all = selected !== undefined && rows.length > 0 && rows.every((row) => selected.has(id(row)));

  const keys = (event: KeyboardEvent) => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-row]');
    if (!row || event.target !== row) return;
    const place = Number(row.dataset.row);
    if (event.key === 'Enter') open?.(shown[place]);
    else if (event.key === ' ' && select) toggle(id(shown[place]));
    else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const next = place + (event.key === 'ArrowDown' ? 1 : -1);
      frame.current?.querySelector<HTMLElement>(`[data-row="${next}"]`)?.focus();
    } else return;
    event.preventDefault();
  };

  return (
    <div class="list" role="table" aria-label={label} aria-rowcount={shown.length + 1} ref={frame} onKeyDown={keys} style={{ '--columns': widths(false), '--columns-narrow': widths(true) }}>
      <div class="list-head" role="row" aria-rowindex={1}>
        {select && (
          <div role="columnheader" class="check">
            <input type="checkbox" aria-label={t('selectAll')} checked={all} onChange={() => select(all ? new Set() : new Set(rows.map(id)))} />
          </div>
        )}
        {columns.map((column) => (
          <div role="columnheader" key={column.key} class={`${column.wide ? 'wide' : ''} ${column.end ? 'end' : ''}`} aria-sort={order?.key === column.key ? (order.down ? 'descending' : 'ascending') : undefined}>
            {column.sort ? (
              <button class="sort" onClick={() => setOrder({ key: column.key, down: order?.key === column.key && !order.down })}>
                {column.title}
                <span aria-hidden="true">{order?.key === column.key ? (order.down ? ' ↓' : ' ↑') : ''}</span>
              </button>
            ) : (
              column.title || <span class="unseen">{t('actions')}</span>
            )}
          </div>
        ))}
      </div>
      <div class="list-body" role="rowgroup" style={{ height: `${shown.length * ROW}px` }}>
        {shown.slice(first, last).map((row, offset) => {
          const key = id(row);
          const place = first + offset;
          return (
            <div
              key={key}
              role="row"
              aria-rowindex={place + 2}
              aria-selected={select ? selected?.has(key) === true : undefined}
              data-row={place}
              tabIndex={0}
              class={`list-row ${selected?.has(key) ? 'selected' : ''} ${open ? 'opens' : ''}`}
              style={{ top: `${place * ROW}px` }}
              onClick={(event) => {
                if (open && !(event.target as HTMLElement).closest('button, a, input, .menu')) open(row);
              }}
            >
              {select && (
                <div role="cell" class="check">
                  <input type="checkbox" aria-label={t('select', { name: name(row) })} checked={selected?.has(key) === true} onChange={() => toggle(key)} />
                </div>
              )}
              {columns.map((column) => (
                <div role="cell" key={column.key} class={`${column.wide ? 'wide' : ''} ${column.end ? 'end' : ''}`}>
                  {column.cell(row)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}
