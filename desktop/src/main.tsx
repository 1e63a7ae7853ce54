import { render } from 'preact';
import { App } from './app';
import { containers, follow, info } from './state';
import './styles/base.css';
import './styles/frame.css';
import './styles/parts.css';
import './styles/list.css';
import './styles/views.css';
import './styles/container.css';
import './styles/builds.css';

// Asked for before anything is drawn: the first view needs them.
void containers.load();
render(<App />, document.getElementById('app')!);
// Whatever the first view can do without comes after it.
setTimeout(() => {
  void info.load();
  follow();
});
