// The palette's key. What it shows is loaded when it is opened.

import { useEffect } from 'preact/hooks';
import { Cell, useCell } from '../cell';
import { More } from './more';

const shown = new Cell(false);
export const openPalette = () => (shown.value = true);

export function Palette() {
  const open = useCell(shown);
  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k' && !(event.target as HTMLElement).closest('.xterm')) {
        event.preventDefault();
        shown.value = !shown.value;
      }
    };
    document.addEventListener('keydown', keys);
    return () => document.removeEventListener('keydown', keys);
  }, []);
  return open ? <More draw={({ PaletteBox }) => <PaletteBox close={() => (shown.value = false)} />} /> : null;
}

