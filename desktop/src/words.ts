// The page's words. English has every key and is there from the beginning; Korean has the same, and is loaded for who reads it.

import { remembered } from './cell';
import { en } from './words.en';

export type Key = keyof typeof en;
export type Language = 'en' | 'ko';
const known: Partial<Record<Language, Record<Key, string>>> = { en };

const usual: Language = navigator.language.startsWith('ko') ? 'ko' : 'en';
export const language = remembered<Language>('language', usual, ['en', 'ko']);

/** Loads the words of a language. */
export async function learn(wanted: Language): Promise<void> {
  if (wanted === 'ko') known.ko ??= (await import('./words.ko')).ko;
}

/** Shows the page in a language. */
export async function speak(wanted: Language): Promise<void> {
  await learn(wanted);
  language.value = wanted;
}

/** The words for a key; `{name}` stands for what `values` has under that name. `one|many` is told by `count`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const [one, many = one]: string[] = (known[language.value] ?? en)[key].split('|');
  const words = String(values.count) === '1' ? one : many;
  return words.replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}
