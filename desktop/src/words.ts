// The page's words in both languages. English has every key; Korean must have the same.

import { remembered } from './cell';
import { en } from './words.en';
import { ko } from './words.ko';

export type Key = keyof typeof en;
export type Language = 'en' | 'ko';

const usual: Language = navigator.language.startsWith('ko') ? 'ko' : 'en';
export const language = remembered<Language>('language', usual, ['en', 'ko']);

/** The words for a key; `{name}` stands for what `values` has under that name. `one|many` is told by `count`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const [one, many = one]: string[] = (language.value === 'ko' ? ko : en)[key].split('|');
  const words = String(values.count) === '1' ? one : many;
  return words.replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}
