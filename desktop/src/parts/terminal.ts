// A terminal of xterm.js on an exec of the engine. In a file of its own, so that it is loaded only when it is used.

import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { ApiError, path, post, query, tunnel, type Tunnel } from '../api';

// xterm.js makes style elements; the page's policy lets in those with the nonce that the server gave this page.
const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.nonce ?? '';
const make = document.createElement.bind(document) as typeof document.createElement;
document.createElement = ((name: string, options?: ElementCreationOptions) => {
  const element = make(name, options);
  if (name === 'style') element.nonce = nonce;
  return element;
}) as typeof document.createElement;

const LIGHT = { background: '#ffffff', foreground: '#18212b', cursor: '#0b6e8f', cursorAccent: '#ffffff', selectionBackground: '#bfe3f0', black: '#18212b', red: '#b42318', green: '#17794a', yellow: '#8a5a00', blue: '#1d5fb8', magenta: '#8a3aa8', cyan: '#0b6e8f', white: '#5a6675', brightBlack: '#5a6675', brightRed: '#b42318', brightGreen: '#17794a', brightYellow: '#8a5a00', brightBlue: '#1d5fb8', brightMagenta: '#8a3aa8', brightCyan: '#0b6e8f', brightWhite: '#18212b' };
const DARK = { background: '#0c1116', foreground: '#e5eaf0', cursor: '#5cc0de', cursorAccent: '#0c1116', selectionBackground: '#24505f', black: '#2a3541', red: '#ff8a80', green: '#5bd197', yellow: '#f0c15c', blue: '#7fb3ff', magenta: '#d5a0ef', cyan: '#5cc0de', white: '#e5eaf0', brightBlack: '#8693a3', brightRed: '#ffa9a1', brightGreen: '#86e2b4', brightYellow: '#f7d588', brightBlue: '#a8cbff', brightMagenta: '#e3bff5', brightCyan: '#8fd8ee', brightWhite: '#ffffff' };

export interface Session {
  focus: () => void;
  close: () => void;
}

interface Ears {
  title: (title: string) => void;
  end: (error?: ApiError) => void;
}

/** Starts `command` in the container and shows it in `place`. */
export function open(container: string, command: string[], user: string, place: HTMLElement, ears: Ears): Session {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark';
  const terminal = new Terminal({
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
    fontSize: 13,
    lineHeight: 1.25,
    cursorBlink: true,
    scrollback: 10_000,
    screenReaderMode: false,
    theme: dark ? DARK : LIGHT,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  fit.fit();
  const seen = new ResizeObserver(() => place.clientHeight > 0 && fit.fit());
  seen.observe(place);
  let line: Tunnel | undefined;
  let closed = false;
  const encoder = new TextEncoder();
  terminal.onData((text) => line?.send(encoder.encode(text)));
  terminal.onBinary((text) => line?.send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  terminal.onTitleChange(ears.title);
  void (async () => {
    try {
      const exec = await post<{ Id: string }>(path`/containers/${container}/exec`, { Cmd: command, User: user, Tty: true, AttachStdin: true, AttachStdout: true, AttachStderr: true, Env: ['TERM=xterm-256color'] });
      if (closed || !exec) return;
      const resize = () => void post(query(path`/exec/${exec.Id}/resize`, { h: terminal.rows, w: terminal.cols })).catch(() => undefined);
      line = tunnel(
        { method: 'POST', path: path`/exec/${exec.Id}/start`, hijack: true, body: { Detach: false, Tty: true, ConsoleSize: [terminal.rows, terminal.cols] } },
        {
          open: resize,
          data: (bytes) => terminal.write(bytes),
          end: (error) => ears.end(error),
        },
      );
      terminal.onResize(resize);
    } catch (error) {
      ears.end(error as ApiError);
    }
  })();
  // Not from who goes along the tabs with keys.
  if (!document.activeElement?.matches('[role=tab]:focus-visible')) terminal.focus();
  return {
    focus: () => terminal.focus(),
    close: () => {
      closed = true;
      line?.close();
      seen.disconnect();
      terminal.dispose();
    },
  };
}
