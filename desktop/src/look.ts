// Light or dark.

import { remembered } from './cell';

export const theme = remembered<'system' | 'light' | 'dark'>('theme', 'system', ['system', 'light', 'dark']);
