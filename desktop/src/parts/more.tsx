// What is loaded after the first view: the other views, in one file of their own.

import type { ComponentChild } from 'preact';
import { useEffect } from 'preact/hooks';
import { ApiError } from '../api';
import { Cell, useCell } from '../cell';
import { t } from '../words';
import { Failure, Loading } from './empty';
import { toast } from './toast';

type Views = typeof import('../views/more');

const views = new Cell<Views | undefined>(undefined);
const missing = new Cell<ApiError | undefined>(undefined);

/** What is said of a part of the page that does not come: whoever served the page is mostly gone. */
export const notLoaded = () => new ApiError(0, t('notLoaded'), t('notLoadedHint'));

/** Says it to who did something that needs the part. */
export const sayNotLoaded = () => toast({ kind: 'failed', text: t('notLoaded'), hint: t('notLoadedHint') });

/** Loads the other views and runs what needs them, if something does; those who wait for them are drawn then. */
export function loadMore(run?: (views: Views) => void): void {
  if (views.value) return run?.(views.value);
  import('../views/more').then(
    (loaded) => {
      views.value = loaded;
      missing.value = undefined;
      run?.(loaded);
    },
    () => {
      missing.value = notLoaded();
      if (run) sayNotLoaded();
    },
  );
}

/** One of the other views, when it is there. */
export function More({ draw }: { draw: (views: Views) => ComponentChild }) {
  const there = useCell(views);
  const error = useCell(missing);
  useEffect(() => loadMore(), []);
  if (there) return <>{draw(there)}</>;
  return error ? <Failure error={error} /> : <Loading />;
}
