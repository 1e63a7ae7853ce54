// A container from an image, with the options that most are made with.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, path, post, query } from '../api';
import { useCell } from '../cell';
import { word } from '../format';
import { CommandLine } from '../parts/copy';
import { ask, Dialog } from '../parts/dialog';
import { Failure } from '../parts/empty';
import { Icon } from '../parts/icon';
import { toast } from '../parts/toast';
import { go } from '../route';
import { containers, networks } from '../state';
import { t } from '../words';

interface Form {
  image: string;
  name: string;
  ports: string;
  volumes: string;
  env: string;
  command: string;
  memory: string;
  cpus: string;
  network: string;
  user: string;
  restart: string;
  tty: boolean;
  rm: boolean;
}

/** Lines or words of a field, without the empty ones. */
const items = (text: string, by: RegExp) => text.split(by).map((item) => item.trim()).filter(Boolean);

/** Words of a command as a shell takes them apart: quotes and backslashes. */
export function words(text: string): string[] {
  const found: string[] = [];
  const pattern = /\s*((?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+)/gy;
  for (const [, whole] of text.matchAll(pattern)) {
    found.push(whole.replace(/\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, escaped: string, double: string, single: string) => escaped ?? double?.replace(/\\(["\\$`])/g, '$1') ?? single));
  }
  return found;
}

/** 64m and the like. */
function size(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$/i.exec(text.trim());
  if (!found) return 0;
  return Math.round(Number(found[1]) * 1024 ** ' kmgt'.indexOf(found[2].toLowerCase() || ' '));
}

/** `8000-8002`: each of them. What is no range is itself. */
function range(text: string): string[] {
  const found = /^(\d+)-(\d+)$/.exec(text);
  const [first, last] = found ? [Number(found[1]), Number(found[2])] : [NaN, NaN];
  if (!(last >= first) || last > 65535) return [text];
  return Array.from({ length: last - first + 1 }, (_, step) => String(first + step));
}

/** The body of container create. */
export function body(form: Form): unknown {
  const exposed: Record<string, object> = {};
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of items(form.ports, /[\s,]+/)) {
    const [rest, protocol = 'tcp'] = port.split('/');
    // [::1]:8080:80, 127.0.0.1:8080:80, 8080:80, 80
    const [, address = '', outside = '', within] = /^(?:(\[[^\]]*\]|[^:]*):(?=[^:]*:))?(?:([^:]*):)?(.*)$/.exec(rest)!;
    const outer = range(outside);
    // One port of the container may have any of several outside; otherwise each has its own. What fits in neither way goes as it is: the
    // daemon refuses it, as it does the command.
    const fits = !outside || range(within).length === outer.length;
    const inner = fits ? range(within) : [within];
    inner.forEach((number, place) => {
      const inside = `${number}/${protocol}`;
      exposed[inside] = {};
      const HostPort = outside && fits ? outer[place] : outside;
      (bindings[inside] ??= []).push({ HostIp: address.replace(/^\[|\]$/g, ''), HostPort });
    });
  }
  return {
    Image: form.image,
    Cmd: form.command ? words(form.command) : undefined,
    Env: items(form.env, /\n/),
    User: form.user.trim(),
    Tty: form.tty,
    OpenStdin: form.tty,
    ExposedPorts: exposed,
    HostConfig: {
      PortBindings: bindings,
      Binds: items(form.volumes, /\s+/),
      Memory: size(form.memory),
      NanoCpus: Math.round(Number(form.cpus || 0) * 1e9),
      NetworkMode: form.network || undefined,
      RestartPolicy: { Name: form.restart },
      AutoRemove: form.rm,
    },
  };
}

/** The command that does the same. */
export function command(form: Form): string {
  const flags: string[] = ['-d'];
  if (form.tty) flags.push('-it');
  if (form.rm) flags.push('--rm');
  if (form.name) flags.push('--name', word(form.name));
  for (const port of items(form.ports, /[\s,]+/)) flags.push('-p', word(port));
  for (const volume of items(form.volumes, /\s+/)) flags.push('-v', word(volume));
  for (const pair of items(form.env, /\n/)) flags.push('-e', word(pair));
  if (form.memory) flags.push('-m', word(form.memory));
  if (form.cpus) flags.push('--cpus', word(form.cpus));
  if (form.user.trim()) flags.push('-u', word(form.user.trim()));
  if (form.network) flags.push('--network', word(form.network));
  if (form.restart !== 'no') flags.push('--restart', form.restart);
  return ['ferry run', ...flags, word(form.image), form.command].filter(Boolean).join(' ');
}

function RunDialog({ image, close }: { image: string; close: () => void }) {
  const [form, setForm] = useState<Form>({ image, name: '', ports: '', volumes: '', env: '', command: '', memory: '', cpus: '', network: '', user: '', restart: 'no', tty: false, rm: false });
  const [error, setError] = useState<ApiError>();
  const [under, setUnder] = useState(false);
  const known = useCell(networks) ?? [];
  useEffect(() => networks.show(), []);
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  const text = (key: keyof Form, label: string, hint: string) => (
    <label>
      {label}
      <input value={form[key] as string} placeholder={hint} onInput={(event) => set({ [key]: event.currentTarget.value })} />
    </label>
  );
  const start = async () => {
    setUnder(true);
    setError(undefined);
    try {
      const made = await post<{ Id: string }>(query('/containers/create', { name: form.name }), body(form));
      await post(path`/containers/${made!.Id}/start`);
      toast({ kind: 'done', text: t('started', { name: form.name || made!.Id.slice(0, 12) }), command: command(form) });
      await containers.load();
      close();
      go('containers', made!.Id);
    } catch (failed) {
      setError(failed as ApiError);
      containers.later();
    }
    setUnder(false);
  };
  return (
    <Dialog title={t('runTitle', { name: image })} close={close} wide>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <div class="pair">
          {text('name', t('name'), t('nameHint'))}
          {text('command', t('command'), t('commandHint'))}
        </div>
        <div class="pair">
          {text('ports', t('ports'), '8080:80')}
          {text('volumes', t('volumes'), 'data:/var/lib/data')}
        </div>
        <label>
          {t('environment')}
          <textarea rows={3} value={form.env} placeholder="NAME=value" onInput={(event) => set({ env: event.currentTarget.value })} />
        </label>
        <div class="pair">
          <label>
            {t('network')}
            <select value={form.network} onChange={(event) => set({ network: event.currentTarget.value })}>
              <option value="">{t('usualNetwork')}</option>
              {known.map(({ Name: name }) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          {text('user', t('user'), t('userHint'))}
        </div>
        <div class="pair three">
          {text('memory', t('memoryLimit'), '512m')}
          {text('cpus', t('processors'), '1.5')}
          <label>
            {t('restartPolicy')}
            <select value={form.restart} onChange={(event) => set({ restart: event.currentTarget.value })}>
              <option value="no">{t('restart_no')}</option>
              <option value="on-failure">{t('restart_failure')}</option>
              <option value="unless-stopped">{t('restart_unless')}</option>
              <option value="always">{t('restart_always')}</option>
            </select>
          </label>
        </div>
        <div class="choices">
          <label class="choice">
            <input type="checkbox" checked={form.tty} onChange={(event) => set({ tty: event.currentTarget.checked })} />
            {t('withTerminal')}
          </label>
          <label class="choice">
            <input type="checkbox" checked={form.rm} onChange={(event) => set({ rm: event.currentTarget.checked })} />
            {t('autoRemove')}
          </label>
        </div>
        {error && <Failure error={error} />}
        <CommandLine command={command(form)} />
        <footer>
          <button type="button" onClick={close}>
            {t('cancel')}
          </button>
          <button class="primary" type="submit" disabled={under}>
            <Icon name="play" size={15} />
            {t('run')}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

export const askRun = (image: string) => ask((close) => <RunDialog image={image} close={close} />);
