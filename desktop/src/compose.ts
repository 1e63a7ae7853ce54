// Compose projects: what the labels of containers tell, and what is done through Ferry's own Compose.

import { ApiError, tunnel, type Tunnel } from './api';
import { Cell } from './cell';
import { PROJECT, SERVICE, nameOf } from './container';
import type { ContainerSummary } from './types';

const DEPENDS = 'com.docker.compose.depends_on';
const FILES = 'com.docker.compose.project.config_files';
const DIRECTORY = 'com.docker.compose.project.working_dir';

export interface Project {
  name: string;
  /** Separated by commas. */
  files: string;
  directory: string;
  containers: ContainerSummary[];
}

interface Known {
  name: string;
  files: string;
  directory: string;
}

/** Projects that were seen here: their files bring them up again when nothing of them runs. */
const known = new Cell<Known[]>(stored());

function stored(): Known[] {
  try {
    const all = JSON.parse(localStorage.getItem('compose.known') ?? '[]') as Known[];
    return all.filter((one) => one.name && one.files).slice(0, 100);
  } catch {
    // Turned off, or written by somebody else.
    return [];
  }
}

function keep(all: Known[]): void {
  known.value = all;
  try {
    localStorage.setItem('compose.known', JSON.stringify(all));
  } catch {
    // Remembered as long as the page.
  }
}

export function remember({ name, files, directory }: Known): void {
  if (!files) return;
  const old = known.value.find((one) => one.name === name);
  if (old?.files === files && old.directory === directory) return;
  keep([...known.value.filter((one) => one.name !== name), { name, files, directory }]);
}

export const forget = (name: string) => keep(known.value.filter((one) => one.name !== name));
export { known };

/** Those of which there are containers, and those that were there once. */
export function projects(all: ContainerSummary[], once: Known[] = []): Project[] {
  const found = new Map<string, Project>(once.map((one) => [one.name, { ...one, containers: [] }]));
  for (const container of all) {
    const name = container.Labels?.[PROJECT];
    if (!name) continue;
    const project = found.get(name) ?? { name, files: '', directory: '', containers: [] };
    project.files = container.Labels?.[FILES] ?? project.files;
    project.directory = container.Labels?.[DIRECTORY] ?? project.directory;
    project.containers.push(container);
    found.set(name, project);
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

export interface Service {
  name: string;
  containers: ContainerSummary[];
  needs: string[];
  /** How many steps from one that needs nothing. */
  depth: number;
}

/** Services in the order in which they start. `db:service_healthy:true,cache:…` is how Compose notes what one needs. */
export function services(project: Project): Service[] {
  const found = new Map<string, Service>();
  for (const container of project.containers) {
    const name = container.Labels?.[SERVICE] ?? nameOf(container);
    const needs = (container.Labels?.[DEPENDS] ?? '').split(',').filter(Boolean).map((one) => one.split(':')[0]);
    const service = found.get(name) ?? { name, containers: [], needs, depth: 0 };
    service.containers.push(container);
    found.set(name, service);
  }
  const depth = (name: string, seen: string[]): number => {
    const needs = found.get(name)?.needs ?? [];
    return seen.includes(name) ? 0 : Math.max(0, ...needs.map((need) => depth(need, [...seen, name]) + 1));
  };
  for (const service of found.values()) service.depth = depth(service.name, []);
  return [...found.values()].sort((a, b) => a.depth - b.depth || a.name.localeCompare(b.name));
}

export type Verb = 'up' | 'down' | 'diff' | 'config' | 'pull' | 'build';

/** The command line of it. */
export function composeWords({ name, files }: Known, verb: string, quote: (text: string) => string): string {
  const options = files ? files.split(',').map((file) => `-f ${quote(file)} `).join('') : `-p ${quote(name)} `;
  return `ferry compose ${options}${verb}`;
}

/** Has Compose do it; what it says comes piece by piece. */
export function errand(project: Known, verb: Verb, volumes: boolean, said: (text: string) => void, end: (error?: ApiError) => void): Tunnel {
  const decoder = new TextDecoder();
  const body = { verb, files: project.files.split(',').filter(Boolean), directory: project.directory, project: project.name, volumes };
  return tunnel({ path: '/compose', body }, { data: (bytes) => said(decoder.decode(bytes, { stream: true })), end });
}

export interface Change {
  kind: 'create' | 'remove' | 'change';
  what: string;
  why: string;
}

/** `POST /containers/create?name=web-1  # service web has no container 1` */
export function changes(text: string): Change[] {
  return text.split('\n').flatMap((line) => {
    const found = /^([A-Z]+) (\S+)(?:\s+# (.*))?$/.exec(line.trim());
    if (!found) return [];
    const [, method, target, why = ''] = found;
    const name = /[?&](?:name|fromImage)=([^&]+)/.exec(target)?.[1];
    const kind = method === 'DELETE' ? 'remove' : /\/create\b|\/build\b/.test(target) ? 'create' : 'change';
    const parts = target.split('?')[0].split('/').filter(Boolean);
    const verb = kind === 'change' ? ` · ${parts.at(-1)}` : '';
    const of = parts[0]?.replace(/s$/, '') ?? '';
    const called = name ?? (parts[1] === 'create' ? (parts[2] ?? '') : (parts[1] ?? ''));
    return [{ kind, what: `${of} ${decodeURIComponent(called)}${verb}`, why } as Change];
  });
}
