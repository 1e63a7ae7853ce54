// Builds as the engine remembers them. Docker's own engine has no such list in its API.

export type BuildState = 'running' | 'done' | 'failed' | 'cancelled';

export interface BuildLine {
  Id: string;
  Tags: string[];
  Dockerfile: string;
  Target: string;
  State: BuildState;
  Error?: string;
  Started: string;
  Ended?: string;
  Image?: string;
  Steps: number;
  Cached: number;
  Completed: number;
  Warnings: number;
}

interface Vertex {
  digest: string;
  name: string;
  started?: string;
  completed?: string;
  cached?: boolean;
  error?: string;
}

export interface Build extends BuildLine {
  Status: { vertexes?: Vertex[]; logs?: { vertex: string; stream: number; data: string }[]; warnings?: { short: string; url?: string }[] };
  Place?: { file: string; first: number; last: number; lines: [number, string][] };
  Cut: boolean;
}

export interface BuildStep {
  id: string;
  name: string;
  /** Milliseconds since the build began. */
  from: number;
  to: number;
  cached: boolean;
  running: boolean;
  error: string;
  log: string;
}

/** Bytes in base64 as text. */
export function decoded(data: string): string {
  return new TextDecoder().decode(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)));
}

/** The steps that began, in the order in which they did, and how long all of it took. */
export function steps(build: Build, now: number): { all: BuildStep[]; whole: number } {
  const zero = Date.parse(build.Started);
  const end = build.Ended ? Date.parse(build.Ended) : now;
  const logs = new Map<string, string>();
  for (const log of build.Status.logs ?? []) logs.set(log.vertex, (logs.get(log.vertex) ?? '') + decoded(log.data));
  const all = (build.Status.vertexes ?? []).flatMap((vertex) => {
    if (!vertex.started) return [];
    return {
      id: vertex.digest,
      name: vertex.name,
      from: Math.max(0, Date.parse(vertex.started) - zero),
      to: Math.max(0, (vertex.completed ? Date.parse(vertex.completed) : end) - zero),
      cached: vertex.cached === true,
      running: !vertex.completed && build.State === 'running',
      error: vertex.error ?? '',
      log: logs.get(vertex.digest) ?? '',
    };
  });
  all.sort((a, b) => a.from - b.from);
  return { all, whole: Math.max(1, end - zero, ...all.map((step) => step.to)) };
}

/** How long: 840 ms, 12.3 s, 3 min 5 s. */
export function lasted(time: number): string {
  if (time < 1000) return `${Math.round(time)} ms`;
  if (time < 60_000) return `${(time / 1000).toFixed(1)} s`;
  return `${Math.floor(time / 60_000)} min ${Math.round((time % 60_000) / 1000)} s`;
}
