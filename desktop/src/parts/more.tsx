// What is loaded after the first view: the other views, in one file of their own.

import type { ComponentChild } from 'preact';
import { useEffect } from 'preact/hooks';
import { Cell, useCell } from '../cell';
import { Loading } from './empty';

type Views = typeof import('../views/more');

const views = new Cell<Views | undefined>(undefined);

/** Loads the other views; those who wait for them are drawn then. */
export async function loadMore(): Promise<Views> {
  views.value ??= await import('../views/more');
  return views.value;
}

/** One of the other views, when it is there. */
export function More({ draw }: { draw: (views: Views) => ComponentChild }) {
  const there = useCell(views);
  useEffect(() => void loadMore(), []);
  return <>{there ? draw(there) : <Loading />}</>;
}
