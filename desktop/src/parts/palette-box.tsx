// Everything that can be gone to or done, found by typing.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useCell, type Cell } from '../cell';
import { known, projects } from '../compose';
import { ICONS, act, nameOf, verbsFor } from '../container';
import { theme } from '../look';
import { go } from '../route';
import { containers, images, networks, volumes } from '../state';
import { askRemove } from '../views/containers';
import { named } from '../views/images';
import { askRun } from '../views/run';
import { askPull } from '../views/transfer';
import { language, t, type Key } from '../words';
import { Icon, type IconName } from './icon';
import { choose } from './language';

interface Choice {
  text: string;
  note: string;
  icon: IconName;
  run: () => void;
}

const SECTIONS = ['overview', 'containers', 'images', 'builds', 'volumes', 'networks', 'compose', 'registries', 'events', 'settings'] as const;

function choices(): Choice[] {
  const all: Choice[] = SECTIONS.map((name) => ({ text: t(name), note: t('goTo'), icon: name, run: () => go(name) }));
  all.push({ text: t('pullTitle'), note: t('images'), icon: 'download', run: () => askPull() });
  for (const name of ['light', 'dark', 'system'] as const) all.push({ text: `${t('theme')}: ${t(name)}`, note: t('settings'), icon: name === 'dark' ? 'moon' : 'sun', run: () => (theme.value = name) });
  all.push({ text: language.value === 'ko' ? 'English' : '한국어', note: t('language'), icon: 'language', run: () => choose(language.value === 'ko' ? 'en' : 'ko') });
  for (const container of containers.value ?? []) {
    const name = nameOf(container);
    all.push({ text: name, note: t('containers'), icon: 'containers', run: () => go('containers', container.Id) });
    all.push({ text: t('logsOf', { name }), note: t('containers'), icon: 'file', run: () => go('containers', container.Id, 'logs') });
    if (container.State === 'running') all.push({ text: t('terminalIn', { name }), note: t('containers'), icon: 'terminal', run: () => go('containers', container.Id, 'terminal') });
    for (const verb of verbsFor(container.State)) all.push({ text: `${t(verb as Key)} ${name}`, note: `ferry ${verb} ${name}`, icon: ICONS[verb], run: () => void act(verb, [container]) });
    all.push({ text: `${t('remove')} ${name}`, note: `ferry rm ${name}`, icon: 'trash', run: () => askRemove([container]) });
  }
  for (const project of projects(containers.value ?? [], known.value)) all.push({ text: project.name, note: t('compose'), icon: 'compose', run: () => go('compose', project.name) });
  for (const row of named(images.value ?? []).filter((row) => row.name)) {
    all.push({ text: row.name, note: t('images'), icon: 'images', run: () => go('images', row.image.Id) });
    all.push({ text: `${t('run')} ${row.name}`, note: `ferry run ${row.name}`, icon: 'play', run: () => askRun(row.name) });
  }
  for (const volume of volumes.value ?? []) all.push({ text: volume.Name, note: t('volumes'), icon: 'volumes', run: () => go('volumes', volume.Name) });
  for (const network of networks.value ?? []) all.push({ text: network.Name, note: t('networks'), icon: 'networks', run: () => go('networks', network.Id) });
  return all;
}

/** Every word somewhere in the text; what begins with it comes first. */
function fitting(all: Choice[], text: string): Choice[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return all.slice(0, 12);
  const score = ({ text: own, note }: Choice) => {
    const whole = `${own} ${note}`.toLowerCase();
    if (!words.every((word) => whole.includes(word))) return -1;
    return own.toLowerCase().startsWith(words[0]) ? 2 : own.toLowerCase().includes(words[0]) ? 1 : 0;
  };
  const scored = all.map((choice): [number, Choice] => [score(choice), choice]).filter(([points]) => points >= 0);
  return scored.sort(([a], [b]) => b - a).slice(0, 40).map(([, choice]) => choice);
}

export function PaletteBox({ close }: { close: () => void }) {
  const element = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  // Before the next key: what is typed at once is not lost.
  useLayoutEffect(() => {
    const dialog = element.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  useEffect(() => {
    const hidden = [containers.show(), images.show(), volumes.show(), networks.show()];
    return () => hidden.forEach((hide) => hide());
  }, []);
  for (const remote of [containers, images, volumes, networks]) useCell<unknown>(remote as Cell<unknown>);
  const found = fitting(choices(), text);
  const run = (choice: Choice | undefined) => {
    if (!choice) return;
    close();
    choice.run();
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setAt(Math.min(found.length - 1, at + 1));
    else if (event.key === 'ArrowUp') setAt(Math.max(0, at - 1));
    else if (event.key === 'Enter') run(found[at]);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    element.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }, [at]);
  return (
    <dialog
      ref={element}
      class="dialog palette"
      aria-label={t('paletteOpen')}
      onCancel={close}
      onMouseDown={(event) => {
        if (event.target === element.current) close();
      }}
    >
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[at] ? `choice-${at}` : undefined}
        aria-label={t('palette')}
        placeholder={t('palette')}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={keys}
      />
      <ul id="palette-list" role="listbox" aria-label={t('paletteOpen')}>
        {found.map((choice, place) => (
          <li key={`${choice.text} ${choice.note} ${place}`} id={`choice-${place}`} role="option" aria-selected={place === at} onClick={() => run(choice)} onMouseMove={() => setAt(place)}>
            <Icon name={choice.icon} size={16} />
            <span class="cut">{choice.text}</span>
            <span class="muted small cut">{choice.note}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class="muted palette-none">{t('paletteNone')}</p>}
    </dialog>
  );
}
