import { render } from 'preact';
import { App } from './app';
import { loadMore } from './parts/more';
import { containers, follow, info } from './state';
import { language, learn } from './words';
import './styles/base.css';
import './styles/frame.css';
import './styles/parts.css';
import './styles/list.css';
import './styles/views.css';
import './styles/picture.css';
import './styles/container.css';
import './styles/chart.css';
import './styles/builds.css';

// Asked for before anything is drawn: the first view needs them, and mostly has them at once, from `index.html`'s preload. One
// drawing with rows is sooner there than one without and another.
const PATIENCE = 120;
let drawn = false;
const words = learn(language.value);
const draw = async () => {
  if (drawn) return;
  drawn = true;
  // Without them the page speaks English.
  await words.catch(() => undefined);
  render(<App />, document.getElementById('app')!);
};
containers.follow(draw);
containers.error.follow(draw);
setTimeout(draw, PATIENCE);
void containers.load();

// Whatever the first view can do without comes after it.
let begun = false;
const begin = () => {
  if (begun) return;
  begun = true;
  void info.load();
  loadMore();
  follow();
};
containers.follow(() => requestAnimationFrame(() => setTimeout(begin)));
containers.error.follow(begin);
setTimeout(begin, 1500);
