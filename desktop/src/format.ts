// Figures and times as the reader wants them.

import { language, t } from './words';

/** A size: 1.5 MB. Decimal, as the command line shows disk space. */
export function bytes(count: number): string {
  if (!Number.isFinite(count) || count < 0) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let place = 0;
  while (count >= 999.5 && place < units.length - 1) {
    count /= 1000;
    place += 1;
  }
  const digits = place === 0 || count >= 100 ? 0 : count >= 10 ? 1 : 2;
  return `${count.toFixed(digits)} ${units[place]}`;
}

/** Memory: 1.5 MiB, as the command line shows it. */
export function memory(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let place = 0;
  while (count >= 1023.5 && place < units.length - 1) {
    count /= 1024;
    place += 1;
  }
  const digits = place === 0 || count >= 100 ? 0 : count >= 10 ? 1 : 2;
  return `${count.toFixed(digits)} ${units[place]}`;
}

export function percent(share: number): string {
  return `${share.toFixed(share < 9.95 ? 1 : 0)} %`;
}

const SPANS = [
  ['yearsAgo', 31_536_000],
  ['monthsAgo', 2_592_000],
  ['weeksAgo', 604_800],
  ['daysAgo', 86_400],
  ['hoursAgo', 3600],
  ['minutesAgo', 60],
  ['secondsAgo', 1],
] as const;

const made = new Map<string, unknown>();

/** Formatters are slow to make: one of each. */
function once<T>(name: string, make: () => T): T {
  const key = `${language.value} ${name}`;
  if (!made.has(key)) made.set(key, make());
  return made.get(key) as T;
}

/** How long ago: 5 minutes ago. In words of the page's own: the browser's formatter takes 10 ms to make, which the first view waits for. */
export function ago(date: Date): string {
  const seconds = (Date.now() - date.getTime()) / 1000;
  const span = SPANS.find(([, length]) => seconds >= length);
  // The engine's clock may be a little ahead of the reader's.
  return span ? t(span[0], { count: Math.trunc(seconds / span[1]) }) : t('now');
}

/** Date and time in the reader's zone. */
export function when(date: Date): string {
  return once('when', () => new Intl.DateTimeFormat(language.value, { dateStyle: 'medium', timeStyle: 'medium' })).format(date);
}

/** Date and time to the minute, for lists. */
export function day(date: Date): string {
  return once('day', () => new Intl.DateTimeFormat(language.value, { dateStyle: 'short', timeStyle: 'short' })).format(date);
}

/** The time of day with milliseconds. */
export function clock(date: Date): string {
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** An id as people compare it. */
export function short(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

/** A word of a shell, quoted if it must be. */
export function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
