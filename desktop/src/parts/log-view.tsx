// A log of any length: only the lines in sight are drawn.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clock } from '../format';
import { level, pieces, type LogStore } from '../log';

const LINE = 20;
const BEYOND = 12;
/** Lines above those in sight, below which older ones are wanted. */
const NEAR = 400;
/** Browsers cannot draw a box that is higher than some ten million pixels: beyond it, a pixel stands for more than one. */
const HIGHEST = 8_000_000;

interface LogViewProps {
  store: LogStore;
  /** Places of the lines to show; all of them without. */
  places?: number[];
  /** Changes when there are more lines. */
  version: number;
  times: boolean;
  found?: RegExp;
  /** The place that the search is at. */
  current?: number;
  follow: boolean;
  setFollow: (on: boolean) => void;
  label: string;
  /** Somebody is near the oldest line. */
  nearTop?: () => void;
  /** Names before the lines, of several logs in one. */
  name?: (place: number) => { text: string; hue: number };
}

export function LogView({ store, places, version, times, found, current, follow, setFollow, label, nearTop, name }: LogViewProps) {
  const frame = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  /** Where the page itself has scrolled to: events of that are nobody's wish. */
  const put = useRef(-1);
  const size = useRef({ high: 0, height: 0 });
  const count = places?.length ?? store.length;
  const whole = count * LINE + 16;
  const high = Math.min(whole, HIGHEST);
  /** Pixels of lines for a pixel of scrolling. */
  const factor = high > height ? (whole - height) / (high - height) : 1;

  const scrolled = () => {
    const box = frame.current!;
    setTop(box.scrollTop);
    if (Math.abs(box.scrollTop - put.current) < 1) return;
    put.current = -1;
    setFollow(box.scrollTop + box.clientHeight >= box.scrollHeight - 4);
  };
  useEffect(() => {
    const box = frame.current!;
    const seen = new ResizeObserver(() => setHeight(box.clientHeight));
    seen.observe(box);
    return () => seen.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (!follow) return;
    const box = frame.current!;
    const grown = high >= size.current.high && height === size.current.height;
    size.current = { high, height };
    // Somebody has scrolled up, and the event is still on its way.
    if (grown && put.current >= 0 && box.scrollTop < put.current - 4) {
      scrolled();
      return;
    }
    box.scrollTop = high;
    put.current = box.scrollTop;
    setTop(box.scrollTop);
  }, [follow, version, count, height]);
  const begun = useRef({ store, first: store.first });
  useLayoutEffect(() => {
    const box = frame.current!;
    const [before, now] = [begun.current, { store, first: store.first }];
    begun.current = now;
    // Lines came or went above: those in sight stay where they are.
    if (before.store !== store || before.first === store.first || follow || places) return;
    box.scrollTop = Math.max(0, (top * (oldFactor.current || 1) + (before.first - store.first) * LINE) / factor);
    put.current = box.scrollTop;
    setTop(box.scrollTop);
  }, [version, store, store.first]);
  const oldFactor = useRef(factor);
  useLayoutEffect(() => {
    oldFactor.current = factor;
  });
  useEffect(() => {
    // Where the page has put it by now, not where it was when this was drawn: older lines would be asked for twice.
    if (!follow && !places && frame.current!.scrollTop * factor < NEAR * LINE) nearTop?.();
  }, [top, follow, version, places]);
  useLayoutEffect(() => {
    if (current === undefined) return;
    const place = places ? places.indexOf(current) : current;
    const box = frame.current!;
    const line = place * LINE - height / 2;
    setFollow(false);
    box.scrollTop = Math.max(0, line / factor);
    put.current = box.scrollTop;
    setTop(box.scrollTop);
  }, [current]);

  const start = top * factor;
  const first = Math.max(0, Math.floor(start / LINE) - BEYOND);
  const last = Math.min(count, Math.ceil((start + height) / LINE) + BEYOND);
  const rows = [];
  for (let row = first; row < last; row += 1) {
    const place = places ? places[row] : row;
    const line = store.at(place);
    const said = name?.(place);
    rows.push(
      <div key={store.first + place} class={`log-line ${line.error ? 'stderr' : ''} ${level(line.text) ?? ''} ${place === current ? 'current' : ''}`} style={{ transform: `translateY(${(row * LINE - start + top).toFixed(0)}px)` }}>
        {said && <span class={`log-name hue-${said.hue}`}>{said.text}</span>}
        {times && line.time && <span class="log-time">{clock(new Date(line.time))}</span>}
        <span class="log-text">{marked(line.text, found)}</span>
      </div>,
    );
  }
  return (
    <div class="log" ref={frame} onScroll={scrolled} tabIndex={0} role="log" aria-label={label} aria-live="off">
      <div class="log-all" style={{ height: `${high}px` }}>
        {rows}
      </div>
    </div>
  );
}

/** A line's text with its colours, and what is searched for marked. */
function marked(text: string, found: RegExp | undefined) {
  return pieces(text.length > 20_000 ? `${text.slice(0, 20_000)} …` : text).map((piece, place) => {
    const hit = found?.exec(piece.text);
    if (!hit) return piece.style ? <span key={place} class={piece.style}>{piece.text}</span> : piece.text;
    const to = hit.index + hit[0].length;
    return (
      <span key={place} class={piece.style}>
        {piece.text.slice(0, hit.index)}
        <mark>{hit[0]}</mark>
        {piece.text.slice(to)}
      </span>
    );
  });
}
