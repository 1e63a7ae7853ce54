// A button with a menu below it.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon, type IconName } from './icon';

export interface MenuItem {
  text: string;
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  run: () => void;
}

export function Menu({ label, items, icon = 'more' }: { label: string; items: MenuItem[]; icon?: IconName }) {
  const [place, setPlace] = useState<{ top: number; right: number } | undefined>(undefined);
  const button = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const open = place !== undefined;
  // Before the next key, which is the menu's.
  useLayoutEffect(() => {
    if (!open) return;
    menu.current?.querySelector<HTMLElement>('button:not(:disabled)')?.focus();
    const outside = (event: Event) => {
      if (!menu.current?.contains(event.target as Node)) setPlace(undefined);
    };
    const away = () => setPlace(undefined);
    document.addEventListener('mousedown', outside);
    document.addEventListener('scroll', away, true);
    return () => {
      document.removeEventListener('mousedown', outside);
      document.removeEventListener('scroll', away, true);
    };
  }, [open]);
  const show = () => {
    const box = button.current!.getBoundingClientRect();
    const below = window.innerHeight - box.bottom > items.length * 36 + 20;
    setPlace({ top: below ? box.bottom + 4 : Math.max(8, box.top - items.length * 36 - 16), right: window.innerWidth - box.right });
  };
  const keys = (event: KeyboardEvent) => {
    const buttons = [...menu.current!.querySelectorAll<HTMLElement>('button:not(:disabled)')];
    const now = buttons.indexOf(document.activeElement as HTMLElement);
    if (event.key === 'ArrowDown') buttons[(now + 1) % buttons.length]?.focus();
    else if (event.key === 'ArrowUp') buttons[(now + buttons.length - 1) % buttons.length]?.focus();
    else if (event.key === 'Escape' || event.key === 'Tab') {
      setPlace(undefined);
      button.current?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <>
      <button ref={button} class="ghost icon-only" aria-label={label} title={label} aria-haspopup="menu" aria-expanded={open} onClick={() => (open ? setPlace(undefined) : show())}>
        <Icon name={icon} />
      </button>
      {place && (
        <div ref={menu} class="menu" role="menu" aria-label={label} style={{ top: `${place.top}px`, right: `${place.right}px` }} onKeyDown={keys}>
          {items.map((item) => (
            <button
              key={item.text}
              role="menuitem"
              class={item.danger ? 'danger' : ''}
              disabled={item.disabled}
              onClick={() => {
                setPlace(undefined);
                button.current?.focus();
                item.run();
              }}
            >
              {item.icon && <Icon name={item.icon} size={16} />}
              <span>{item.text}</span>
            </button>
          ))}
        </div>
      )}
    </>
  );
}
