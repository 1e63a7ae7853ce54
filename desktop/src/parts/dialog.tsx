// A dialog over the page: the browser keeps the focus inside and gives it back.

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Cell, useCell } from '../cell';
import { t } from '../words';
import { Icon } from './icon';

interface DialogProps {
  title: string;
  close: () => void;
  children: ComponentChildren;
  wide?: boolean;
}

export function Dialog({ title, close, children, wide }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = element.current!;
    dialog.showModal();
    // What is to be filled in comes first, not the button that closes.
    dialog.querySelector<HTMLElement>('input:not([type=checkbox]):not([readonly]), footer button')?.focus();
    // Closed, not just taken away: that is what gives the focus back.
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? 'dialog wide-dialog' : 'dialog'}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onMouseDown={(event) => {
        if (event.target === element.current) close();
      }}
    >
      <div class="dialog-inside">
        <header>
          <h2>{title}</h2>
          <button class="ghost icon-only" aria-label={t('close')} onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

const current = new Cell<((close: () => void) => ComponentChildren) | undefined>(undefined);

/** Shows a dialog, instead of the one that is there. */
export function ask(draw: (close: () => void) => ComponentChildren): void {
  current.value = draw;
}

export function Dialogs() {
  const draw = useCell(current);
  return <>{draw?.(() => (current.value = undefined))}</>;
}
