// The Engine API, as the desktop's server passes it on.

/** A failure in the daemon's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | undefined>;

/** A path with its query; parts of paths are escaped by `path`. */
export function query(path: string, pairs: Query = {}): string {
  const text = Object.entries(pairs)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name}=${encodeURIComponent(value === true ? '1' : String(value))}`)
    .join('&');
  return text ? `${path}?${text}` : path;
}

/** Escapes the values of a template: path`/containers/${id}/json`. */
export function path(words: TemplateStringsArray, ...values: string[]): string {
  return words.reduce((all, word, place) => all + word + (place < values.length ? encodeURIComponent(values[place]) : ''), '');
}

async function failure(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const told = JSON.parse(text) as { message?: string; hint?: string };
    return new ApiError(response.status, told.message ?? text, told.hint);
  } catch {
    return new ApiError(response.status, text || response.statusText);
  }
}

/** Pauses in milliseconds before what did not get through is sent again. */
const PAUSES = [50, 250, 1000];
const rest = (time: number) => new Promise<void>((later) => setTimeout(later, time));

/**
 * `fetch`, again if it did not get through: a browser breaks connections off whenever the machine's addresses change, which is what an
 * engine does that starts containers. What might be done twice is sent once.
 */
export async function send(target: string, init: RequestInit = {}): Promise<Response> {
  const { method = 'GET' } = init;
  const again = method === 'GET' ? PAUSES : [];
  for (let tries = 0; ; tries += 1) {
    try {
      return await fetch(target, init);
    } catch (error) {
      if ((error as Error).name === 'AbortError') throw error;
      if (tries === again.length) throw await broken(method !== 'GET');
      await rest(again[tries]);
    }
  }
}

/** Why nothing came back: the desktop is gone, or only this connection. */
async function broken(mayBeDone: boolean): Promise<ApiError> {
  const there = mayBeDone && (await fetch('/api/_ping').then(() => true, () => false));
  if (!there) return new ApiError(0, 'The desktop has ended. Start it again with: ferry desktop');
  return new ApiError(0, 'The connection broke off before the answer came', 'Look whether it was done before you try again.');
}

/** Sends a request; an answer that is an error is thrown. */
export async function request(method: string, target: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
  const headers: Record<string, string> = { ...(init.headers as Record<string, string>) };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await send(`/api${target}`, { ...init, method, headers, body: body === undefined ? init.body : JSON.stringify(body) });
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get<T>(target: string, init: RequestInit = {}): Promise<T> {
  return (await request('GET', target, undefined, init)).json() as Promise<T>;
}

export async function post<T = unknown>(target: string, body?: unknown): Promise<T | undefined> {
  const text = await (await request('POST', target, body)).text();
  try {
    return text ? (JSON.parse(text) as T) : undefined;
  } catch {
    return undefined;
  }
}

export async function remove(target: string): Promise<void> {
  await (await request('DELETE', target)).text();
}

/** A stream of the Engine API in a WebSocket. */
export interface Tunnel {
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

interface TunnelRequest {
  method?: 'GET' | 'POST';
  path: string;
  hijack?: boolean;
  body?: unknown;
  auth?: string;
}

interface TunnelEars {
  open?: (raw: boolean) => void;
  data?: (bytes: Uint8Array) => void;
  /** Once, whatever ended it; without an error the daemon has said everything. */
  end?: (error?: ApiError) => void;
}

export function tunnel(wanted: TunnelRequest, ears: TunnelEars): Tunnel {
  let socket: WebSocket;
  let tries = 0;
  let ended = false;
  let opened = false;
  // One that is still being connected is closed when it is: browsers complain of anything earlier.
  const hangUp = () => {
    if (socket.readyState === WebSocket.OPEN) socket.close();
  };
  const end = (error?: ApiError) => {
    if (ended) return;
    ended = true;
    ears.end?.(error);
    hangUp();
  };
  const hear = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (ended) return;
    if (typeof data !== 'string') return ears.data?.(new Uint8Array(data));
    const told = JSON.parse(data) as { status: number; message?: string; hint?: string; raw?: boolean };
    if (told.message !== undefined) return end(new ApiError(told.status, told.message, told.hint));
    opened = true;
    ears.open?.(told.raw === true);
  };
  const connect = () => {
    if (ended) return;
    let sent = false;
    socket = new WebSocket(`ws://${location.host}/stream`);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      if (ended) return hangUp();
      sent = true;
      socket.send(JSON.stringify({ method: 'GET', ...wanted }));
    };
    socket.onmessage = hear;
    // As with requests: what has not been sent yet is sent again.
    socket.onclose = () => {
      if (!sent && tries < PAUSES.length) return void setTimeout(connect, PAUSES[tries++]);
      end(opened ? undefined : new ApiError(0, 'The connection to the desktop is gone'));
    };
  };
  connect();
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
    },
    close: () => {
      ended = true;
      hangUp();
    },
  };
}

/** JSON values, one a line, out of pieces. */
export function lines<T>(each: (value: T) => void): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder();
  let rest = '';
  return (bytes) => {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part.trim()) each(JSON.parse(part) as T);
  };
}
