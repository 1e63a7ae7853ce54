// What the page knows of the engine: lists, kept up to date by events.

import { ApiError, get, lines, query, tunnel } from './api';
import { Cell } from './cell';
import type { ContainerSummary, DiskUsage, EngineEvent, ImageSummary, Info, Network, Version, Volume } from './types';

/** A list or a document of the engine. */
export class Remote<T> extends Cell<T | undefined> {
  readonly error = new Cell<ApiError | undefined>(undefined);
  private waiting: ReturnType<typeof setTimeout> | undefined;
  private under: Promise<void> | undefined;
  private stale = false;
  /** Views that show it. */
  private shown = 0;

  /** What came is a part, enough for the first view. */
  readonly partial = new Cell(false);

  constructor(
    private readonly fetch: () => Promise<T>,
    /** The beginning of it, and whether that is all; asked for once. */
    private first?: () => Promise<{ value: T; whole: boolean }>,
  ) {
    super(undefined);
  }

  /** Asks now; a question under way is followed by another. */
  async load(): Promise<void> {
    if (this.under) {
      this.stale = true;
      return this.under;
    }
    this.under = this.ask();
    await this.under;
    this.under = undefined;
    if (this.stale) {
      this.stale = false;
      this.later();
    }
  }

  /** Asks soon, once for many reasons. */
  later(): void {
    if (this.shown === 0) {
      this.stale = true;
      return;
    }
    this.waiting ??= setTimeout(() => {
      this.waiting = undefined;
      void this.load();
    }, 200);
  }

  /** A view shows it until the answer is called. */
  show(): () => void {
    this.shown += 1;
    if (this.value === undefined || this.stale) {
      this.stale = false;
      void this.load();
    }
    return () => {
      this.shown -= 1;
    };
  }

  private async ask(): Promise<void> {
    try {
      if (this.first) {
        const { value, whole } = await this.first();
        this.first = undefined;
        this.partial.value = !whole;
        this.value = value;
        this.error.value = undefined;
        if (whole) return;
        // What came is drawn first; nothing is drawn while nobody can see it.
        await new Promise<void>((drawn) => {
          requestAnimationFrame(() => setTimeout(drawn, 50));
          setTimeout(drawn, 500);
        });
      }
      this.value = await this.fetch();
      this.partial.value = false;
      this.error.value = undefined;
    } catch (error) {
      this.error.value = error as ApiError;
    }
  }
}

/** What the desktop makes to look into a volume has this label, and is no container of the user's. */
export const LOOK = 'ferry.desktop.volume';
const own = (all: ContainerSummary[]) => all.filter((container) => !container.Labels?.[LOOK]);

/** Rows of the first view. `index.html` has the browser ask for them before there is a script. */
const FIRST = 50;
export const containers = new Remote(
  async () => own(await get<ContainerSummary[]>('/containers/json?all=1')),
  async () => {
    const value = await get<ContainerSummary[]>(`/containers/json?all=1&limit=${FIRST}`);
    return { value: own(value), whole: value.length < FIRST };
  },
);
export const images = new Remote(() => get<ImageSummary[]>('/images/json?shared-size=1'));
export const volumes = new Remote(async () => (await get<{ Volumes: Volume[] | null }>('/volumes')).Volumes ?? []);
export const networks = new Remote(() => get<Network[]>('/networks'));
export const info = new Remote(() => get<Info>('/info'));
export const version = new Remote(() => get<Version>('/version'));
export const disk = new Remote(() => get<DiskUsage>('/system/df'));

/** Whether events come in. */
export const online = new Cell(true);
/** The latest events, newest first. */
export const events = new Cell<EngineEvent[]>([]);
const EVENTS = 1000;
/** Seconds before the page follows events in which lists may have been asked for: clocks differ, too. */
const SLACK = 30;

const followers = new Set<(event: EngineEvent) => void>();

/** Tells of each event until the answer is called. */
export function onEvent(follower: (event: EngineEvent) => void): () => void {
  followers.add(follower);
  return () => followers.delete(follower);
}

/** What came at once. Those of before the page are for the list of events only. */
function heard(batch: EngineEvent[], since: number): void {
  // What health checks and terminals do is no change that a list shows.
  const told = batch.filter((event) => !event.Action.startsWith('exec_') && event.Action !== 'top');
  if (told.length === 0) return;
  events.value = [...[...told].reverse(), ...events.value].slice(0, EVENTS);
  for (const event of told) {
    if (event.time < since) continue;
    if (event.Type === 'container') {
      containers.later();
      info.later();
      if (event.Action === 'create' || event.Action === 'destroy') disk.later();
    } else if (event.Type === 'image') {
      images.later();
      info.later();
      disk.later();
    } else if (event.Type === 'volume') {
      volumes.later();
      disk.later();
    } else if (event.Type === 'network') {
      networks.later();
    }
    for (const follower of [...followers]) follower(event);
  }
}

/** Follows the engine's events for as long as the page is open, and tries again when they end. */
export function follow(): void {
  let pause = 500;
  const open = (missed: boolean) => {
    const now = Math.floor(Date.now() / 1000);
    const since = now - (missed ? 0 : 3600);
    const fresh: EngineEvent[] = [];
    const read = lines<EngineEvent>((event) => fresh.push(event));
    tunnel(
      { path: query('/events', { since }) },
      {
        open: () => {
          pause = 500;
          online.value = true;
          if (missed) for (const remote of [containers, images, volumes, networks, info, disk]) remote.later();
        },
        data: (bytes) => {
          read(bytes);
          heard(fresh.splice(0), now - SLACK);
        },
        end: () => {
          online.value = false;
          setTimeout(() => open(true), pause);
          pause = Math.min(pause * 2, 10_000);
        },
      },
    );
  };
  open(false);
}
