// A picture: published ports at the left, containers in the middle, networks at the right, lines between what is connected. The one
// that is pointed at or has the focus shows what it reaches: everything else fades. Narrow windows have it as a list.

import { useState } from 'preact/hooks';
import { healthOf, nameOf, published } from '../container';
import { Empty } from '../parts/empty';
import { to } from '../route';
import type { ContainerSummary, Network } from '../types';
import { t } from '../words';

const ROW = 64;
const HEIGHT = 46;
const PORT = { x: 12, width: 120 };
const BOX = { x: 250, width: 250 };
const NET = { x: 660, width: 250 };
const WIDTH = 924;

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Networks by whose bridge packets go from member to member; those of `host` share more than that, and `none` has no members that meet. */
function joins(network: Network): boolean {
  return network.Name !== 'none' && network.Options?.['com.docker.network.bridge.enable_icc'] !== 'false';
}

const isOn = (container: ContainerSummary, network: Network) => Boolean(container.NetworkSettings.Networks?.[network.Name]);

/** Whom a container reaches: those that share a network with it. */
export function reached(container: ContainerSummary, containers: ContainerSummary[], networks: Network[]): ContainerSummary[] {
  const own = networks.filter((network) => joins(network) && isOn(container, network));
  return containers.filter((other) => other !== container && own.some((network) => isOn(other, network)));
}

/** The picture in words. */
function inWords(container: ContainerSummary, containers: ContainerSummary[], networks: Network[]): string {
  const [name, names] = [nameOf(container), reached(container, containers, networks).map(nameOf)];
  const ports = published(container.Ports).map((port) => port.PublicPort);
  const first = names.length > 0 ? t('reaches', { name, names: names.join(', ') }) : t('reachesNone', { name });
  return [first, ports.length > 0 ? t('reachedAt', { ports: ports.join(', ') }) : ''].filter(Boolean).join(' · ');
}

const noteOf = (network: Network) => [network.Driver, ...(network.IPAM.Config ?? []).map((config) => config.Subnet ?? ''), network.Internal && t('noWayOut'), !joins(network) && network.Name !== 'none' && t('apart')].filter(Boolean).join(' · ');

/** For windows that a picture does not fit into. */
function InList({ networks, containers }: { networks: Network[]; containers: ContainerSummary[] }) {
  return (
    <ul class="reach-list">
      {networks.map((network, place) => (
        <li key={network.Id} class={`hue-${place % 6}`}>
          <a href={to('networks', network.Id)}>{network.Name}</a>
          <span class="muted small">{noteOf(network)}</span>
          <ul>
            {containers
              .filter((container) => isOn(container, network))
              .map((container) => (
                <li key={container.Id}>
                  <a href={to('containers', container.Id)}>{nameOf(container)}</a>
                  {published(container.Ports).length > 0 && <span class="reach-ports">{published(container.Ports).map((port) => port.PublicPort).join(', ')} →</span>}
                </li>
              ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}

export function Picture({ networks, containers }: { networks: Network[]; containers: ContainerSummary[] }) {
  const [at, setAt] = useState('');
  const used = networks.filter((network) => containers.some((container) => isOn(container, network)) || !['host', 'none'].includes(network.Name));
  if (containers.length === 0 && used.every((network) => network.Name === 'bridge')) return <Empty icon="networks" title={t('nothingRuns')} text={t('whoReaches')} />;
  // Containers of the same network stand together: fewer lines cross.
  const first = (container: ContainerSummary) => used.findIndex((network) => isOn(container, network));
  const boxes = [...containers].sort((a, b) => first(a) - first(b) || nameOf(a).localeCompare(nameOf(b)));
  // What is shown of the one that is looked at: a container with whom it reaches, or a network with its members.
  const looked = containers.find((container) => container.Id === at);
  const near = new Set(looked ? [at, ...reached(looked, containers, networks).map((one) => one.Id), ...used.filter((network) => isOn(looked, network)).map((network) => network.Id)] : []);
  const within = used.find((network) => network.Id === at);
  if (within) for (const id of [at, ...containers.filter((container) => isOn(container, within)).map((container) => container.Id)]) near.add(id);
  const fades = (...ids: string[]) => (near.size > 0 && !ids.every((id) => near.has(id)) ? 'faded' : '');
  const looks = (id: string) => ({ onMouseEnter: () => setAt(id), onMouseLeave: () => setAt(''), onFocus: () => setAt(id), onBlur: () => setAt('') });
  const rows = Math.max(boxes.length, used.length);
  const height = rows * ROW + 54;
  const boxY = (place: number) => 44 + place * ROW + ((rows - boxes.length) * ROW) / 2;
  const netY = (place: number) => 44 + place * ROW + ((rows - used.length) * ROW) / 2;
  const curve = (x1: number, y1: number, x2: number, y2: number) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
  return (
    <figure class="picture card">
      <div class="picture-scroll" tabIndex={0} role="group" aria-label={t('picture')}>
        <svg viewBox={`0 0 ${WIDTH} ${height}`} style={{ minWidth: '760px' }} role="group" aria-label={t('whoReaches')}>
          <text class="picture-title" x={PORT.x} y="22">{t('outside')}</text>
          <text class="picture-title" x={BOX.x} y="22">{t('containers')}</text>
          <text class="picture-title" x={NET.x} y="22">{t('networks')}</text>
          {boxes.map((container, place) =>
            used.map((network, other) =>
              isOn(container, network) ? (
                <path key={`${container.Id}${network.Id}`} class={`picture-line hue-${other % 6} ${fades(container.Id, network.Id)}`} d={curve(BOX.x + BOX.width, boxY(place) + HEIGHT / 2, NET.x, netY(other) + HEIGHT / 2)} />
              ) : null,
            ),
          )}
          {boxes.map((container, place) => {
            const ports = published(container.Ports);
            const y = boxY(place);
            return (
              <g key={container.Id} class={fades(container.Id)} data-container={nameOf(container)}>
                {ports.length > 0 && (
                  <>
                    <path class="picture-line port" d={curve(PORT.x + PORT.width, y + HEIGHT / 2, BOX.x, y + HEIGHT / 2)} marker-end="url(#arrow)" />
                    <rect class="picture-port" x={PORT.x} y={y + 8} width={PORT.width} height={HEIGHT - 16} rx="15" />
                    <text class="picture-port-text" x={PORT.x + PORT.width / 2} y={y + HEIGHT / 2 + 4}>
                      {cut(ports.map((port) => port.PublicPort).join(', '), 16)}
                    </text>
                  </>
                )}
                <a href={to('containers', container.Id)} aria-description={inWords(container, containers, networks)} {...looks(container.Id)}>
                  <rect class="picture-box" x={BOX.x} y={y} width={BOX.width} height={HEIGHT} rx="9" />
                  <circle class={`picture-dot ${container.State} ${healthOf(container) ?? ''}`} cx={BOX.x + 18} cy={y + HEIGHT / 2} r="4.500" />
                  <text class="picture-name" x={BOX.x + 34} y={y + 20}>
                    {cut(nameOf(container), 26)}
                  </text>
                  <text class="picture-note" x={BOX.x + 34} y={y + 36}>
                    {cut(container.Image.replace(/^sha256:/, '').slice(0, 40), 32)}
                  </text>
                </a>
              </g>
            );
          })}
          {used.map((network, place) => (
            <a key={network.Id} class={fades(network.Id)} href={to('networks', network.Id)} {...looks(network.Id)}>
              <rect class="picture-box" x={NET.x} y={netY(place)} width={NET.width} height={HEIGHT} rx="9" />
              <rect class={`picture-stripe hue-${place % 6}`} x={NET.x} y={netY(place) + 9} width="4" height={HEIGHT - 18} rx="2" />
              <text class="picture-name" x={NET.x + 18} y={netY(place) + 20}>
                {cut(network.Name, 28)}
              </text>
              <text class="picture-note" x={NET.x + 18} y={netY(place) + 36}>
                {cut(noteOf(network), 40)}
              </text>
            </a>
          ))}
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path class="picture-arrow" d="M0 0L8 4L0 8z" />
            </marker>
          </defs>
        </svg>
      </div>
      <InList networks={used} containers={boxes} />
      <figcaption class="muted small" aria-live="polite">
        {looked ? inWords(looked, containers, networks) : t('whoReaches')}
      </figcaption>
    </figure>
  );
}
