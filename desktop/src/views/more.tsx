// The views and dialogs that the first view does without.

export { PaletteBox } from '../parts/palette-box';
export { BuildPage, Builds } from './builds';
export { Compose } from './compose';
export { Container } from './container';
export { Events } from './events';
export { Image } from './image';
export { Images } from './images';
export { NetworkPage, Networks } from './networks';
export { ProjectPage } from './project';
export { askPrune } from './prune';
export { Registries, RegistryPage } from './registries';
export { Settings } from './settings';
export { VolumePage, Volumes } from './volumes';
