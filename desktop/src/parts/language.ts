// The page in another language, which may have to be loaded.

import { speak, type Language } from '../words';
import { sayNotLoaded } from './more';

/** Shows the page in a language, or says why it stays as it is. */
export function choose(wanted: Language): void {
  speak(wanted).catch(sayNotLoaded);
}
