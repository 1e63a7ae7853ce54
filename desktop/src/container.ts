// What is known of a container from its line in the list, and what can be done to it.

import { ApiError, path, post, query, remove as removeAt } from './api';
import { word } from './format';
import type { IconName } from './parts/icon';
import { toast } from './parts/toast';
import { containers } from './state';
import type { ContainerSummary, Port } from './types';
import { t, type Key } from './words';

export const PROJECT = 'com.docker.compose.project';
export const SERVICE = 'com.docker.compose.service';

export function nameOf(container: ContainerSummary): string {
  const own = container.Names.find((name) => name.lastIndexOf('/') === 0) ?? container.Names[0];
  return own?.slice(1) ?? container.Id.slice(0, 12);
}

/** `healthy`, `unhealthy`, `starting`, or nothing. */
export function healthOf(container: ContainerSummary): 'healthy' | 'unhealthy' | 'starting' | undefined {
  if (container.Status.includes('(healthy)')) return 'healthy';
  if (container.Status.includes('(unhealthy)')) return 'unhealthy';
  return container.Status.includes('(health: starting)') ? 'starting' : undefined;
}

/** Published ports, each once, for IPv4 and IPv6 together. */
export function published(ports: Port[]): Port[] {
  const seen = new Map<string, Port>();
  for (const port of ports) {
    if (port.PublicPort) seen.set(`${port.PublicPort}:${port.PrivatePort}/${port.Type}`, port);
  }
  return [...seen.values()].sort((a, b) => a.PublicPort! - b.PublicPort!);
}

export type Verb = 'start' | 'stop' | 'restart' | 'pause' | 'unpause';

const DONE: Record<Verb, Key> = { start: 'started', stop: 'stopped', restart: 'restarted', pause: 'paused', unpause: 'unpaused' };
export const ICONS: Record<Verb, IconName> = { start: 'play', stop: 'stop', restart: 'restart', pause: 'pause', unpause: 'play' };

/** What can be done in a state, the most wanted first. */
export function verbsFor(state: string): Verb[] {
  switch (state) {
    case 'running':
      return ['stop', 'restart', 'pause'];
    case 'paused':
      return ['unpause', 'stop'];
    case 'restarting':
      return ['stop', 'restart'];
    case 'removing':
      return [];
    default:
      return ['start'];
  }
}

export function command(verb: string, names: string[]): string {
  return `ferry ${verb} ${names.map(word).join(' ')}`;
}

/** What a list of names is called in a sentence. */
export function called(names: string[]): string {
  return names.length === 1 ? names[0] : t('many', { count: names.length });
}

/** Does it to all of them at once; says what was done and what was not. */
export async function act(verb: Verb, chosen: ContainerSummary[]): Promise<void> {
  await each(chosen, (container) => post(path`/containers/${container.Id}/${verb}`), (names) => ({
    text: t(DONE[verb], { name: called(names) }),
    command: command(verb, names),
  }));
}

export async function removeAll(chosen: ContainerSummary[], withVolumes: boolean): Promise<void> {
  const force = chosen.some((container) => container.State === 'running');
  const words = ['rm', ...(force ? ['-f'] : []), ...(withVolumes ? ['-v'] : [])].join(' ');
  await each(chosen, (container) => removeAt(query(path`/containers/${container.Id}`, { force, v: withVolumes })), (names) => ({
    text: t('removed', { name: called(names) }),
    command: command(words, names),
  }));
}

async function each(
  chosen: ContainerSummary[],
  one: (container: ContainerSummary) => Promise<unknown>,
  done: (names: string[]) => { text: string; command: string },
): Promise<void> {
  const names: string[] = [];
  await Promise.all(
    chosen.map(async (container) => {
      try {
        await one(container);
        names.push(nameOf(container));
      } catch (error) {
        const { message, hint } = error as ApiError;
        toast({ kind: 'failed', text: message, hint });
      }
    }),
  );
  if (names.length > 0) toast({ kind: 'done', ...done(names) });
  containers.later();
}
