// Lines of a log: out of the engine's stream, kept so that a million of them can be looked at.

/** Lines that are kept; older ones go. */
export const MOST = 1_500_000;

export interface LogLine {
  /** Standard error. */
  error: boolean;
  /** RFC 3339, as the engine wrote it. */
  time: string;
  text: string;
}

/** Takes pieces of the engine's stream apart: frames of eight bytes' head, or plain text of a terminal. */
export class Demux {
  private rest = new Uint8Array(0);
  private readonly decoders = [new TextDecoder(), new TextDecoder()];
  private readonly begun = ['', ''];

  constructor(
    private readonly raw: boolean,
    private readonly line: (error: boolean, text: string) => void,
  ) {}

  take(piece: Uint8Array): void {
    if (this.raw) return this.text(0, piece);
    let bytes = piece;
    if (this.rest.length > 0) {
      bytes = new Uint8Array(this.rest.length + piece.length);
      bytes.set(this.rest);
      bytes.set(piece, this.rest.length);
    }
    let at = 0;
    while (bytes.length - at >= 8) {
      const size = ((bytes[at + 4] << 24) | (bytes[at + 5] << 16) | (bytes[at + 6] << 8) | bytes[at + 7]) >>> 0;
      if (bytes.length - at - 8 < size) break;
      this.text(bytes[at] === 2 ? 1 : 0, bytes.subarray(at + 8, at + 8 + size));
      at += 8 + size;
    }
    this.rest = bytes.slice(at);
  }

  private text(stream: 0 | 1, bytes: Uint8Array): void {
    const text = this.begun[stream] + this.decoders[stream].decode(bytes, { stream: true });
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      this.line(stream === 1, text.slice(from, to));
      from = to + 1;
    }
    this.begun[stream] = from === 0 ? text : text.slice(from);
  }
}

/** The lines of one container. */
export class LogStore {
  private texts: string[] = [];
  /** One bit a line, so that a million of them are cheap. */
  private errors: boolean[] = [];
  /** Lines that were dropped: the number of the first that is left. */
  first = 0;

  get length(): number {
    return this.texts.length;
  }

  push(error: boolean, text: string): void {
    this.texts.push(text);
    this.errors.push(error);
    if (this.texts.length > MOST * 1.1) {
      const over = this.texts.length - MOST;
      this.texts.splice(0, over);
      this.errors.splice(0, over);
      this.first += over;
    }
  }

  /** Puts older lines in front; numbers of lines stay what they were, and may become negative. */
  prepend(errors: boolean[], texts: string[]): void {
    this.texts = texts.concat(this.texts);
    this.errors = errors.concat(this.errors);
    this.first -= texts.length;
  }

  /** As many of the oldest lines as there are, up to a number. */
  oldest(count: number): string[] {
    return this.texts.slice(0, count);
  }

  isError(place: number): boolean {
    return this.errors[place];
  }

  /** A line with its time in front, as it came. */
  whole(place: number): string {
    return this.texts[place];
  }

  at(place: number): LogLine {
    const whole = this.texts[place];
    const gap = whole.indexOf(' ');
    const timed = gap >= 20 && whole.charCodeAt(4) === 45;
    return { error: this.errors[place], time: timed ? whole.slice(0, gap) : '', text: (timed ? whole.slice(gap + 1) : whole).replace(/\r$/, '') };
  }
}

export type Level = 'error' | 'warn' | 'info' | 'debug';

const LEVELS = /\b(?:(fatal|panic|crit(?:ical)?|err(?:or)?|emerg|alert|severe|exception)|(warn(?:ing)?)|(info|notice|log)|(debug|trace|verbose))\b/i;

/** The level that a line names near its beginning. */
export function level(text: string): Level | undefined {
  const found = LEVELS.exec(text.slice(0, 160));
  if (!found) return undefined;
  return found[1] ? 'error' : found[2] ? 'warn' : found[3] ? 'info' : 'debug';
}

export interface Piece {
  text: string;
  /** Classes of style: colours and weights. */
  style: string;
}

/** Text with its terminal colours as pieces; other control sequences are left out. */
export function pieces(text: string): Piece[] {
  if (!text.includes('\u001b')) return [{ text, style: '' }];
  const all: Piece[] = [];
  let style = new Set<string>();
  // Sequences of control: colours are CSI … m, everything else is for screens.
  const sequence = /\u001b(?:\[([0-9;:]*)m|\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-_])/g;
  let from = 0;
  const add = (part: string) => part && all.push({ text: part, style: [...style].join(' ') });
  for (const found of text.matchAll(sequence)) {
    add(text.slice(from, found.index));
    from = found.index + found[0].length;
    if (found[1] !== undefined) style = styled(style, found[1]);
  }
  add(text.slice(from));
  return all;
}

function styled(before: Set<string>, codes: string): Set<string> {
  const style = new Set(before);
  const numbers = codes.split(/[;:]/).map(Number);
  for (let place = 0; place < numbers.length; place += 1) {
    const code = numbers[place];
    if (code === 0) style.clear();
    else if (code === 1) style.add('ansi-bold');
    else if (code === 2) style.add('ansi-dim');
    else if (code === 3) style.add('ansi-italic');
    else if (code === 4) style.add('ansi-under');
    else if (code === 38 || code === 48) place += numbers[place + 1] === 5 ? 2 : 4;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      for (const name of [...style]) if (name.startsWith('ansi-c')) style.delete(name);
      style.add(`ansi-c${code % 10}`);
    } else if (code === 39) for (const name of [...style]) if (name.startsWith('ansi-c')) style.delete(name);
  }
  return style;
}

/** Escapes a text for a regular expression. */
export function literal(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i');
}
