// Which view: the part of the address behind `#`, which never leaves the browser.

import { Cell } from './cell';

function parts(): string[] {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
}

export const route = new Cell<string[]>(parts());
addEventListener('hashchange', () => (route.value = parts()));

export function to(...words: string[]): string {
  return `#/${words.map(encodeURIComponent).join('/')}`;
}

export function go(...words: string[]): void {
  location.hash = to(...words);
}
