// Values that views follow.

import { useLayoutEffect, useReducer } from 'preact/hooks';

/** A value; whoever follows it is told when it changes. */
export class Cell<T> {
  private followers = new Set<() => void>();

  constructor(private current: T) {}

  get value(): T {
    return this.current;
  }

  set value(next: T) {
    if (next === this.current) return;
    this.current = next;
    for (const follower of [...this.followers]) follower();
  }

  follow(follower: () => void): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }
}

/** The value of a cell, in a view that is drawn again when it changes. */
export function useCell<T>(cell: Cell<T>): T {
  const [, again] = useReducer((count: number) => count + 1, 0);
  const seen = cell.value;
  useLayoutEffect(() => {
    // It may have changed between the drawing and now.
    if (cell.value !== seen) again(undefined as never);
    return cell.follow(() => again(undefined as never));
  }, [cell]);
  return seen;
}

/** A cell that the browser remembers. */
export function remembered<T extends string>(name: string, usual: T, known: readonly T[]): Cell<T> {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(name);
  } catch {
    // Storage is turned off: the choice lasts as long as the page.
  }
  const cell = new Cell<T>(known.includes(stored as T) ? (stored as T) : usual);
  cell.follow(() => {
    try {
      localStorage.setItem(name, cell.value);
    } catch {
      // As above.
    }
  });
  return cell;
}
